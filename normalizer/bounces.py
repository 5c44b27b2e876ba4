"""Reports about mail: bounces, delays, read receipts, complaints. Whom could it not reach, and about which mail is it?

The machine-readable forms first (RFC 3464, 8098, 5965), then what qmail (QSBMF), Exim, sendmail, Exchange and Microsoft
365 write for people. A report is a claim like any other mail: it proves nothing about a ticket by itself.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from normalizer import headers
from normalizer.addresses import canonical_email
from normalizer.mime import Mail

Kind = Literal["bounce", "delayed", "delivered", "read_receipt", "feedback_report"]

_MAX_LINES: Final = 400
_ACTIONS: Final[dict[str, Kind]] = {
    "failed": "bounce", "delayed": "delayed", "delivered": "delivered", "relayed": "delivered", "expanded": "delivered",
}  # fmt: skip
_TYPES: Final[dict[str, Kind]] = {
    "disposition-notification": "read_receipt", "feedback-report": "feedback_report",
}  # fmt: skip
BOUNCER: Final = re.compile(r"(?:mailer-daemon|postmaster|mail-?daemon|microsoftexchange[0-9a-f]{8,40})@")
BOUNCE_SUBJECT: Final = re.compile(
    r"(?:undeliver(?:able|ed)|delivery (?:status notification|failure|has failed)|returned mail|"
    r"mail delivery (?:failed|system)|mail system error|"
    r"failure notice|unzustellbar|non remis|échec de la remise|no se puede entregar|mancato recapito|onbestelbaar|"
    r"mail delivery subsystem|message not delivered|nicht zugestellt|não foi possível entregar|"
    r"warning: (?:could not send message|message \S{1,40} delayed)|delivery delayed|olevererbart|kan ikke leveres|"
    r"не удалось доставить|недоставленное сообщение|nie można dostarczyć|niedostarczona|配信不能|无法送达|退信)",
    re.IGNORECASE,
)
# Sentences by which these programs begin, in the letter's first lines.
_FAILURE_TEXT: Final = re.compile(
    r"this is the qmail-send program|i(?:'m| am) afraid i wasn't able to deliver|this message was created "
    r"automatically by mail delivery software|could not be delivered|did not reach the following recipient|"
    r"delivery has failed to these recipients|"
    r"delivery to the following recipients? (?:has )?failed|(?:had|have) permanent fatal errors|"
    r"this is the mail system at host|your message wasn't delivered|message (?:was not|wasn't|couldn't be) delivered|"
    r"i have been unable to deliver|unable to deliver (?:your )?message|undeliverable message",
    re.IGNORECASE,
)
_DELAY: Final = re.compile(
    r"has not yet been delivered|not been delivered after|delayed \d+ hours|could not send message for past|"
    r"delivery (?:is|has been)? ?delayed|will be retried|no action is required on your part|temporary problem|"
    r"don't need to (?:retry|resend)",
    re.IGNORECASE,
)
# Where the copy of the mail that failed begins.
_COPY: Final = re.compile(
    r"-{2,60} ?(?:below this line is a copy|this is a copy of|(?:original|returned) (?:message|mail)|message header|"
    r"the header of the original|included is a copy|transcript of session follows\s*\Z)|"
    r"original message headers|undelivered message headers|return-path:|received: from",
    re.IGNORECASE,
)
_ADDRESS: Final = r"<?(?P<address>[^\s<>@\"(),:;]{1,64}@[^\s<>@\"(),:;]{1,255})>?"
_RECIPIENT: Final = (
    re.compile(rf"\s*(?:(?:final-|original-)?recipient|to)\s?:\s{{0,20}}(?:rfc822;\s?)?{_ADDRESS}\s*\Z", re.IGNORECASE),
    re.compile(rf"\s*{_ADDRESS}(?:\s*\Z|\s?:(?:\s|\Z)|\s+on \d|\s*(?=\())", re.IGNORECASE),
    re.compile(rf"[^@]{{1,100}}\({_ADDRESS}\)"),  # Microsoft 365 names the person first
)
_MESSAGE_ID: Final = re.compile(r"[>\s]{0,4}message-id:\s{0,9}(<[^<>\s]{1,900}>)", re.IGNORECASE)
_STATUS: Final = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")


class Report(NamedTuple):
    """`message_id` as written, with brackets; `recipient` canonical; both empty when the report does not say."""

    kind: Kind
    recipient: str = ""
    message_id: str = ""
    status: str = ""  # RFC 3463, x.y.z
    reason: str = ""  # one line for people


def read(mail: Mail, author: str = "", *, null_sender: bool = False) -> Report | None:
    """What the mail reports, or None when it is no report. `author` is the canonical From address."""
    if mail.report and (mail.content_type == "multipart/report" or null_sender or BOUNCER.match(author)):
        return _by_fields(mail)
    if mail.content_type == "multipart/report":
        named = _TYPES.get(mail.report_type)
        return Report(named, message_id=_message_id(mail)) if named else _by_words(mail, required=False)
    failed = mail.raw("x-failed-recipients")
    subject = mail.subject[:300]
    if failed or (BOUNCER.match(author) is not None) or (null_sender and BOUNCE_SUBJECT.search(subject)):
        announced = bool(failed) or BOUNCE_SUBJECT.search(subject) is not None
        found = _by_words(mail, required=not announced)
        if found is not None and failed:
            found = found._replace(recipient=canonical_email(failed.partition(",")[0])[:320])
        return found
    return None


def _by_fields(mail: Mail) -> Report:
    """The first recipient that failed, or the first at all, of the machine-readable part."""
    first = dict(reversed(mail.report))
    about = _message_id(mail)
    if mail.report_type == "disposition-notification" or "disposition" in first:
        return Report("read_receipt", _address(first), about, "", first.get("disposition", "")[:200])
    if mail.report_type == "feedback-report" or "feedback-type" in first:
        recipient = canonical_email(first.get("original-rcpt-to", "").strip("<> "))[:320]
        return Report("feedback_report", recipient, about, "", first.get("feedback-type", "")[:100])
    chosen: dict[str, str] = {}
    for block in _recipients(mail.report):
        if not chosen or (_action(block) == "bounce" and _action(chosen) != "bounce"):
            chosen = block
    if not chosen:
        chosen = first
    reason = chosen.get("diagnostic-code", "").partition(";")[2].strip() or chosen.get("action", "")
    return Report(_action(chosen), _address(chosen), about, chosen.get("status", "").strip()[:20], reason[:300])


def _recipients(report: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    """The per-recipient groups: each begins where a field comes again that the group already has."""
    groups: list[dict[str, str]] = []
    current: dict[str, str] = {}
    for name, value in report:
        if name not in ("final-recipient", "original-recipient", "action", "status", "diagnostic-code"):
            continue
        if name in current:
            groups.append(current)
            current = {}
        current[name] = value
    return [*groups, current] if current else groups


def _action(block: dict[str, str]) -> Kind:
    return _ACTIONS.get(block.get("action", "").strip().lower(), "bounce")


def _address(block: dict[str, str]) -> str:
    value = block.get("final-recipient") or block.get("original-recipient") or ""
    return canonical_email(value.rpartition(";")[2].strip().strip("<>"))[:320]


def _message_id(mail: Mail) -> str:
    for name, value in (*mail.reported, *mail.report):
        if name in ("message-id", "original-message-id") and value:
            return value[:998]
    return ""


def _by_words(mail: Mail, *, required: bool) -> Report | None:
    """A report written for people. `required`: a sentence of these programs has to be in it."""
    lines = [line[:1_000] for line in mail.text[:100_000].split("\n")[:_MAX_LINES]]
    head = "\n".join(lines[:60])
    if required and not _FAILURE_TEXT.search(head) and not _DELAY.search(head):
        return None
    delayed = _DELAY.search(f"{mail.subject[:300]}\n{head}") is not None and "failed permanently" not in head.lower()
    recipient, reason = _recipient_in(lines)
    status = _STATUS.search(head)
    return Report(
        "delayed" if delayed else "bounce",
        recipient,
        _message_id(mail) or _id_in(lines) or _id_in_files(mail),
        status.group(1) if status else "",
        reason[:300],
    )


def _recipient_in(lines: list[str]) -> tuple[str, str]:
    """The first address that stands by itself above the copy of the mail, and the line that says why."""
    for number, line in enumerate(lines):
        if _COPY.match(line):
            break
        match = next(filter(None, (form.match(line) for form in _RECIPIENT)), None) if "@" in line else None
        if match is None:
            continue
        rest = line[match.end() :].strip(" :")
        following = next((text.strip() for text in lines[number + 1 : number + 4] if text.strip()), "")
        return canonical_email(match["address"].rstrip(".")), rest or following
    return "", ""


def _id_in(lines: list[str]) -> str:
    for line in lines:
        if match := _MESSAGE_ID.match(line):
            return match.group(1)
    return ""


def _id_in_files(mail: Mail) -> str:
    """The id of the first mail that came attached."""
    for item in mail.attachments[:20]:
        if item.content and item.content_type in ("message/rfc822", "text/rfc822-headers", "message/rfc822-headers"):
            fields, _, _ = headers.split_block(item.content, 0, len(item.content), 65_536)
            for name, value in fields:
                if name == "message-id":
                    return headers.unfold(value)[:998]
    return ""
