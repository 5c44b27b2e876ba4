"""`frontdesk pipe`: a mail server (Postfix, Exim, sendmail) hands one mail to our standard input.

    # Postfix, master.cf, with frontdesk_destination_recipient_limit=1 in main.cf
    frontdesk unix - n n - 4 pipe flags=DRXhuq user=frontdesk null_sender=
      argv=/usr/bin/frontdesk pipe --inbox support
      --sender=${sender} --recipient=${recipient} --original=${original_recipient}

Exit code 0 says that the mail is durable. Everything else is 75 (EX_TEMPFAIL of sysexits.h), on which the server keeps
the mail and tries again; any other code makes it bounce (Postfix pipe(8)). A mail server has decided that this mail is
ours before it starts us, so there is no mail that we could be certain to have no place for.

Nothing but the standard library is imported before the guard stands: `python -m gateway.pipe` answers 75 even when an
upgrade has left half an installation behind.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import IO, Final

DURABLE: Final = 0
TEMPORARY: Final = 75  # EX_TEMPFAIL
_NOBODY: Final = frozenset({"", "<>", "MAILER-DAEMON"})  # the null sender, and what Postfix writes for it


class NotTakenError(Exception):
    """This mail cannot be taken as things are; the sentence is for the postmaster's log."""


def guarded(work: Callable[[], int]) -> int:
    """0 when `work` says so, else 75, whatever happens in it; a reason with its enhanced code on standard error."""
    try:
        code = work()
    except SystemExit as error:  # a usage error of the command line, a second signal
        code = DURABLE if error.code in (None, 0) else TEMPORARY
    except BaseException as error:  # out of memory and Ctrl-C too: the mail server must keep the mail
        _tell(2, f"4.3.0 {_reason(error)}")
        return TEMPORARY
    return code if code == DURABLE else TEMPORARY


def _reason(error: BaseException) -> str:
    """One sentence of any error, without what a traceback would show of the mail."""
    with contextlib.suppress(Exception):
        from gateway.commands.failures import explain  # noqa: PLC0415

        told = explain(error)
        if told is not None:
            return " ".join(told[1].split())
    if isinstance(error, NotTakenError):
        return str(error)
    return f"not taken, will be tried again: {type(error).__name__}"


def _tell(descriptor: int, line: str) -> None:
    """Whoever does not listen must not change the outcome: nothing is left in a buffer to fail later."""
    with contextlib.suppress(OSError):
        os.write(descriptor, f"{line}\n".encode("utf-8", "backslashreplace"))


def pipe_in(inbox: str, *, sender: str | None, recipients: Sequence[str], originals: Sequence[str]) -> int:
    """Take the mail on standard input into this inbox. Raises whatever goes wrong; `guarded` makes 75 of it."""
    import asyncio  # noqa: PLC0415

    # Not on uvloop: it aborts the process when a mail server has closed one of the standard streams.
    receipt_ids = asyncio.run(_take(inbox, sender, recipients, originals))
    _tell(1, f"2.0.0 accepted as {' '.join(receipt_ids)}")
    return DURABLE


async def _take(name: str, sender: str | None, recipients: Sequence[str], originals: Sequence[str]) -> list[str]:
    from adapters.base import Raw, Refused  # noqa: PLC0415
    from gateway.commands.desk import opened, taking_in  # noqa: PLC0415
    from gateway.mail.delivery import CHANNEL, CONTENT_TYPE  # noqa: PLC0415

    receipt_ids: list[str] = []
    with contextlib.ExitStack() as after:
        async with opened(only=name) as runtime:
            inbox = runtime.inboxes.get(name)
            if inbox is None or inbox.channel != CHANNEL:
                configured = runtime.settings.inboxes.items()
                mails = sorted(box for box, options in configured if options.get("channel") == CHANNEL)
                raise NotTakenError(f"there is no mail inbox {name!r}; the mail inboxes are {', '.join(mails)}")
            most = int(getattr(inbox.options, "max_bytes", 0)) or 26_214_400
            facts: dict[str, object] = {"rcpt_tos": list(dict.fromkeys([*recipients, *originals])), "protocol": "pipe"}
            if sender is not None:
                facts["mail_from"] = "" if sender.strip() in _NOBODY else sender.strip("<> ")
            raw = Raw(read_mail(sys.stdin.buffer, most), CONTENT_TYPE, facts)
            async with taking_in(runtime):
                try:
                    receipts = await runtime.intake.accept(inbox, raw)
                except Refused as refusal:
                    raise NotTakenError(str(refusal)) from refusal
                receipt_ids += [str(receipt.receipt_id) for receipt in receipts]
                # It is durable now: trouble with closing is told, and not a reason to send it again for days.
                after.enter_context(contextlib.suppress(Exception))
    if not receipt_ids:
        raise NotTakenError("the mail was read and made no message")
    return receipt_ids


def read_mail(stream: IO[bytes], most: int) -> bytes:
    """All of it. Raises `NotTakenError` when it is empty or longer than `most` octets; reads no more than that."""
    body = stream.read(most + 1)
    if len(body) > most:
        raise NotTakenError(f"the mail is larger than the {most} octets of max_bytes")
    if not body.strip():
        raise NotTakenError("standard input is empty; the mail belongs there")
    return body


def main(arguments: Sequence[str] | None = None) -> int:
    """`frontdesk pipe ...`, or `python -m gateway.pipe ...`, with the guard around the command line too."""
    words = list(sys.argv[1:] if arguments is None else arguments)

    def work() -> int:
        _open_streams()
        gc.disable()  # what one mail leaves behind, the end of the process takes away
        from gateway.cli import run_verb  # noqa: PLC0415

        return run_verb(["pipe", *words])

    return guarded(work)


def _open_streams() -> None:
    """A standard stream that the mail server has closed would become the number of our next file."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  a descriptor, for good


if __name__ == "__main__":
    sys.exit(main())
