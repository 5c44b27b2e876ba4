"""`frontdesk audit` and `frontdesk check`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Literal

from gateway.audit import audit
from gateway.commands.desk import finish, opened
from gateway.commands.failures import NOT_SO, OK, TEMPORARY, explain
from gateway.commands.output import one_line, print_json, print_line

if TYPE_CHECKING:
    from gateway.runtime import Runtime

_PATIENCE: Final = 15.0  # seconds; a service that needs longer to answer a ping is not well


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check. `open`: an inbox that refuses until somebody sets what is missing."""

    state: Literal["ok", "open", "failed"]
    what: str
    sentence: str


def run_audit(*, as_json: bool) -> int:
    """Print the audit; 1 when it does not balance, 75 when the queue cannot be asked what still waits in it."""
    return finish(_audit(as_json=as_json))


async def _audit(*, as_json: bool) -> int:
    async with opened() as runtime:
        report = await audit(runtime)
    if as_json:
        print_json(report.as_dict())
    else:
        for line in report.lines():
            print_line(line)
    if report.queue_error:
        return TEMPORARY
    return OK if report.balanced else NOT_SO


def run_check(*, as_json: bool) -> int:
    """Print a line a service; 1 when one failed."""
    return finish(_check(as_json=as_json))


async def _check(*, as_json: bool) -> int:
    async with opened() as runtime:
        services = await asyncio.gather(
            _reach("queue", runtime.queue.ping()),
            _reach("store", runtime.store.ping()),
            _reach("blobs", runtime.blobs.check()),
        )
        findings = [Finding("ok", "settings", "valid"), *services, *_inboxes(runtime)]
    for finding in findings:
        if as_json:
            print_json(asdict(finding))
        else:
            print_line(f"{finding.state:<7}{finding.what:<18}{finding.sentence}")
    return NOT_SO if any(finding.state == "failed" for finding in findings) else OK


async def _reach(what: str, ping: Awaitable[str]) -> Finding:
    """The service's own sentence, or why it cannot be reached. A bug in a ping is not hidden."""
    try:
        return Finding("ok", what, one_line(await asyncio.wait_for(ping, _PATIENCE)))
    except TimeoutError:
        return Finding("failed", what, f"no answer within {_PATIENCE:.0f} s")
    except Exception as error:
        told = explain(error)
        if told is None:
            raise
        return Finding("failed", what, one_line(told[1].removeprefix(f"{what}: ")))


def _inboxes(runtime: Runtime) -> list[Finding]:
    findings = []
    for name, inbox in sorted(runtime.inboxes.items()):
        missing = inbox.adapter.missing()
        prefix = f"FRONTDESK_INBOXES__{name.upper()}__"
        needs = f"refuses everything until these are set: {', '.join(prefix + option.upper() for option in missing)}"
        findings.append(
            Finding(
                "open" if missing else "ok", f"inbox {name}", f"{inbox.channel}; {needs}" if missing else inbox.channel
            )
        )
    return findings
