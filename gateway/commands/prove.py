"""`frontdesk audit` and `frontdesk check`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from adapters.base import AdapterError
from gateway.audit import audit
from gateway.commands.desk import finish, opened
from gateway.commands.failures import NOT_SO, OK, TEMPORARY, explain
from gateway.commands.output import one_line, print_json, print_line
from gateway.mail.tls import certificate_of
from gateway.settings import Settings, SettingsError

if TYPE_CHECKING:
    from gateway.intake import Inbox

_RENEW_DAYS: Final = 14
_PATIENCE: Final = 15.0  # seconds; a service that needs longer to answer a ping is not well


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check. `open`: an inbox that refuses until somebody sets what is missing. `soon`: it works, and
    will not much longer."""

    state: Literal["ok", "open", "soon", "failed"]
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
        inboxes = await asyncio.gather(*(_inbox(inbox) for _, inbox in sorted(runtime.inboxes.items())))
        certificate = check_certificate(runtime.settings, datetime.now(UTC))
        findings = [Finding("ok", "settings", "valid"), *services, *certificate, *inboxes]
    for finding in findings:
        if as_json:
            print_json(asdict(finding))
        else:
            print_line(f"{finding.state:<7}{finding.what:<18}{finding.sentence}")
    return NOT_SO if any(finding.state == "failed" for finding in findings) else OK


def check_certificate(settings: Settings, now: datetime) -> list[Finding]:
    """The listeners' certificate, when there is one: read, held against its key, and when it ends."""
    try:
        certificate = certificate_of(settings.smtp_tls_cert, settings.smtp_tls_key)
        ends = certificate.expires() if certificate is not None else None
    except SettingsError as error:
        return [Finding("failed", "certificate", one_line(str(error)))]
    if ends is None:
        return []
    days = (ends - now).days
    sentence = f"{settings.smtp_tls_cert}, good until {ends:%Y-%m-%d} ({days} days)"
    return [Finding("soon" if days < _RENEW_DAYS else "ok", "certificate", sentence)]


async def _reach(what: str, ping: Awaitable[str]) -> Finding:
    """The service's own sentence, or why it cannot be reached. A bug in a ping is not hidden."""
    try:
        return Finding("ok", what, one_line(await asyncio.wait_for(ping, _PATIENCE)))
    except TimeoutError:
        return Finding("failed", what, f"no answer within {_PATIENCE:.0f} s")
    except AdapterError as error:
        return Finding("failed", what, one_line(str(error)))
    except Exception as error:
        told = explain(error)
        if told is None:
            raise
        return Finding("failed", what, one_line(told[1].removeprefix(f"{what}: ")))


async def _inbox(inbox: Inbox) -> Finding:
    """What an inbox lacks; else whether its provider can be reached, where it is ours to ask."""
    what = f"inbox {inbox.name}"
    missing = inbox.adapter.missing()
    if missing:
        prefix = f"FRONTDESK_INBOXES__{inbox.name.upper()}__"
        needs = ", ".join(prefix + option.upper() for option in missing)
        return Finding("open", what, f"{inbox.channel}; refuses everything until these are set: {needs}")
    reached = await _reach(what, inbox.adapter.reach())
    return replace(reached, sentence=f"{inbox.channel}; {reached.sentence}" if reached.sentence else inbox.channel)
