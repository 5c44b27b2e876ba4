"""Logs with ids, and metrics. Nothing a customer wrote and no secret is ever a log field or a label."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic_core import to_json

REGISTRY = CollectorRegistry()
RECORDING = CollectorRegistry()  # what only a worker counts
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

_accepted = Counter("frontdesk_accepted_total", "arrivals made durable", ["channel"], registry=REGISTRY)
_refusals = Counter("frontdesk_refused_total", "arrivals refused", ["channel", "how"], registry=REGISTRY)
_unstored = Counter("frontdesk_not_durable_total", "temporary refusals, by what failed", ["what"], registry=REGISTRY)
_accepting = Histogram(
    "frontdesk_accept_seconds", "from arrival to durable", ["channel"], registry=REGISTRY, buckets=_SECONDS
)
_outcomes = Counter("frontdesk_outcomes_total", "recorded outcomes", ["channel", "outcome"], registry=RECORDING)
_visible = Histogram(
    "frontdesk_visible_seconds", "from arrival to recorded", ["channel"], registry=RECORDING, buckets=_SECONDS
)
_waiting = Gauge("frontdesk_queue_waiting", "accepted and not yet recorded", ["channel"], registry=REGISTRY)
_dead = Gauge("frontdesk_queue_dead", "dead letters still in the queue", registry=REGISTRY)
_spooled = Gauge("frontdesk_spooled", "messages in the local spool", registry=REGISTRY)
_polls = Gauge("frontdesk_poll_failing", "1 while an inbox cannot be polled", ["inbox"], registry=REGISTRY)


@contextlib.contextmanager
def accepting(channel: str) -> Iterator[None]:
    """Time one accept and count how it ended."""
    begun = time.perf_counter()
    seconds, accepted = _of_channel(channel)
    try:
        yield
    except Exception as error:
        _refusals.labels(channel, type(error).__name__).inc()
        raise
    finally:
        seconds.observe(time.perf_counter() - begun)
    accepted.inc()


@cache
def _of_channel(channel: str) -> tuple[Histogram, Counter]:
    return _accepting.labels(channel), _accepted.labels(channel)


def refused_temporarily(what: str) -> None:
    """Something could not be made durable: `queue` or `blobs`."""
    _unstored.labels(what).inc()


def recorded(channel: str, outcome: str, seconds: float) -> None:
    """One delivery reached its outcome, `seconds` after it arrived."""
    _outcomes.labels(channel, outcome).inc()
    _visible.labels(channel).observe(max(0.0, seconds))


def waiting(ready: Mapping[str, int], dead: int, spooled: int) -> None:
    """What lies in the queues now."""
    for channel, count in ready.items():
        _waiting.labels(channel).set(count)
    _dead.set(dead)
    _spooled.set(spooled)


def polling(inbox: str, *, failing: bool) -> None:
    """Whether an inbox can be polled."""
    _polls.labels(inbox).set(1 if failing else 0)


_worker: bytes | None = None  # what a worker process of ours told last


def hear_worker(told: bytes) -> None:
    """A worker process of ours has rendered its numbers; they are told instead of our own."""
    global _worker  # noqa: PLW0603
    _worker = told


def forget_worker() -> None:
    """It ended; a new one counts from nought, as after any restart."""
    global _worker  # noqa: PLW0603
    _worker = None


def render_metrics() -> bytes:
    """The metrics in Prometheus' text format, those of our worker process included."""
    return generate_latest(REGISTRY) + (render_recording() if _worker is None else _worker)


def render_recording() -> bytes:
    """The numbers of a worker, in the same format."""
    return generate_latest(RECORDING)


def configure_logging(level: str, form: str) -> None:
    """One line an event on stderr: JSON, or readable on a terminal. Repeats replace the earlier configuration."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else _LinesForPeople())
    # No line names its place in the code or its thread, so nobody need look for them (Python's logging HOWTO,
    # "Optimization"): walking the stack is a third of what a line costs.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("aiohttp.access", "aio_pika", "aiormq", "mail.log", "alembic", "tweepy"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """`{"event", "level", "logger", "timestamp"}`, and what the event was logged with.

    A line a message makes this a hot path, and structlog's chain of processors takes three times as long.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever is in it."""
        line = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        line |= {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return to_json(line, fallback=str, inf_nan_mode="null").decode()
        except ValueError:  # a lone surrogate, which UTF-8 cannot say
            return json.dumps(line, default=str)


class _LinesForPeople(logging.Formatter):
    """structlog's formatter, made for the first line: loading it takes as long as `frontdesk pipe` takes for a mail."""

    def format(self, record: logging.LogRecord) -> str:
        """One event."""
        return self._real.format(record)

    @cached_property
    def _real(self) -> logging.Formatter:
        import structlog  # noqa: PLC0415  see above

        shared: list[Any] = [
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ]
        # Plain: the default draws the values of local variables, which may be a customer's words or a secret.
        drawn = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, drawn]
        )
