"""The command line: verbs only. Each one parses its arguments, calls `gateway.commands`, and gives an exit code.

Heavy modules are imported inside the verbs, so that `frontdesk --help` answers at once.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from cyclopts import App, Group, Parameter
from cyclopts.exceptions import CycloptsError

RUN, TAKE, LOOK, PROVE, KEEP = (
    Group(title, sort_key=number) for number, title in enumerate(("Run", "Bring in", "Look", "Prove", "Maintain"))
)

Channel = Literal["email", "form", "chat", "phone", "twitter"]
Outcome = Literal["ticketed", "appended", "duplicate", "updated", "suspended", "dead", "ignored"]
Flag = Parameter(negative=(), show_default=False)
Json = Annotated[bool, Parameter(name="--json", negative=(), show_default=False, help="Print JSON, one object a line.")]


def _no_options(_type: object, paths: Sequence[str]) -> None:
    for path in paths:
        if path.startswith("-") and path != "-":
            raise ValueError(f"unknown option {path}; a file of that name is ./{path}")


Paths = Annotated[
    list[str],
    Parameter(help="Files and folders; `-` is standard input.", allow_leading_hyphen=True, validator=_no_options),
]
Addresses = Annotated[
    tuple[str, ...],
    Parameter(help="An address; may be repeated.", allow_leading_hyphen=True, negative=(), show_default=False),
]
Limit = Annotated[int, Parameter(help="How many at most.")]
OfChannel = Annotated[Channel | None, Parameter(help="Only those of this channel.")]
LetterInbox = Annotated[str, Parameter(help="Only those of this inbox.", show_default=False)]
WithReason = Annotated[str, Parameter(help="Only those with these words in their reason.", show_default=False)]
Quiet = Annotated[bool, Flag, Parameter(help="Do not print addresses and link.")]
Letter = Annotated[int, Parameter(help="Its number in `frontdesk dead list`.")]

verbs = App(
    name="frontdesk",
    help="""The front door of a support desk: mail, forms, chat, calls and posts become tickets.

    Settings come from `frontdesk.toml` (or the file `FRONTDESK_CONFIG` names) and from `FRONTDESK_*` variables.

    Exit codes: 0 done; 1 what was asked about is not so (the audit does not balance, a check failed, a file was
    refused); 2 usage or settings; 75 temporary, the same command works later.""",
    help_format="markdown",
    version=lambda: metadata.version("frontdesk"),
    print_error=False,
    exit_on_error=False,
    result_action="return_value",
)
dead = App(name="dead", help="Messages that could not be recorded: look, try them again, or give them up.", group=KEEP)
verbs.command(dead)
suspended = App(name="suspended", help="Messages held for a person: look, let them in, or set them aside.", group=KEEP)
verbs.command(suspended)


@verbs.command(group=RUN)
def up(*, quiet: Quiet = False) -> int:
    """Run everything: listeners, pollers, and a worker beside them. In an empty folder this works without settings.

    Prints its addresses and a one-time link to the console. Ctrl-C or SIGTERM ends it in order.
    """
    return _serve({"serve", "work", "poll"}, quiet=quiet)


@verbs.command(group=RUN)
def serve(*, quiet: Quiet = False) -> int:
    """Run the front doors only: HTTP (forms, chat, webhooks, API, console), SMTP, LMTP. Any number, behind a proxy."""
    return _serve({"serve"}, quiet=quiet)


@verbs.command(group=RUN)
def work() -> int:
    """Run a worker only: takes messages from the queue and writes tickets. Any number at once."""
    return _serve({"work"}, quiet=True)


@verbs.command(group=RUN)
def poll() -> int:
    """Run the pollers only (X mentions). Any number: an inbox is polled by whoever holds its lease."""
    return _serve({"poll"}, quiet=True)


def _serve(roles: set[str], *, quiet: bool) -> int:
    from gateway.commands.running import serve_roles

    return serve_roles(roles, quiet=quiet)


@verbs.command(group=RUN)
def demo(
    *,
    exit: Annotated[
        bool, Flag, Parameter(help="End when the table is printed; 1 if the audit does not balance.")
    ] = False,
    data_dir: Annotated[Path | None, Parameter(help="Keep the data in this folder (default: a temporary one).")] = None,
) -> int:
    """Send a few hundred realistic messages through the real front doors and show what became of them.

    The console stays up until Ctrl-C, unless --exit is given.
    """
    from gateway.commands.running import run_demo

    return run_demo(exit_after=exit, data_dir=data_dir)


@verbs.command(group=TAKE)
def ingest(
    paths: Paths,
    /,
    *,
    inbox: Annotated[str, Parameter(help="The inbox the messages arrived at.")] = "support",
    wait: Annotated[bool, Flag, Parameter(help="Also work here until every message has an outcome.")] = False,
    json: Json = False,
) -> int:
    """Take mail from files through the front door: .eml, mbox, Maildir, JSON lines, folders of these, stdin.

    Nothing enters twice, so it can be run again after an interruption. A JSON line is `{"raw": "..."}` or
    `{"raw_base64": "..."}`, optionally with `inbox` and `facts` (for mail `mail_from`, `rcpt_tos`).

    Exit code 0: all accepted; 1: some refused, each named with its reason; 75: nothing can be stored now. Reading
    standard input every failure is 75, so that a mail server which pipes mail into it keeps the mail.
    """
    from gateway.commands.ingest import ingest_paths

    return ingest_paths(paths, inbox=inbox, wait=wait, as_json=json)


@verbs.command(group=TAKE)
def pipe(
    *,
    inbox: Annotated[str, Parameter(help="The mail inbox it is for.")] = "support",
    sender: Annotated[
        str | None, Parameter(help="The envelope sender; empty for a bounce.", allow_leading_hyphen=True)
    ] = None,
    recipient: Addresses = (),
    original: Addresses = (),
) -> int:
    """Take one mail from standard input, as a mail server's pipe delivers it (Postfix, Exim, sendmail).

    --recipient is where it was delivered, --original where it was sent before aliases. No worker need be running.

    Exit code 0: the mail is durable. 75 for everything else, so that the mail server keeps it and tries again.
    """
    from gateway.pipe import pipe_in

    return pipe_in(inbox, sender=sender, recipients=recipient, originals=original)


@verbs.command(group=TAKE)
def normalize(
    paths: Paths,
    /,
    *,
    channel: Annotated[Channel, Parameter(help="The channel whose adapter reads the files.")] = "email",
    inbox: Annotated[str, Parameter(help="The inbox named in the message.")] = "support",
    content: Annotated[
        bool, Flag, Parameter(help="Include the bytes of files and of the original, in base64.")
    ] = False,
) -> int:
    """Show what Frontdesk sees in a message: one JSON line of the canonical message a file. Stores nothing.

    Exit code 1: a file cannot be read, or it is not a message of this channel; its line then holds path and error.
    """
    from gateway.commands.normalize import normalize_paths

    return normalize_paths(paths, channel=channel, inbox=inbox, content=content)


@verbs.command(group=LOOK)
def tickets(
    ticket_id: Annotated[int | None, Parameter(help="Show this ticket.")] = None,
    /,
    *,
    channel: OfChannel = None,
    waiting: Annotated[bool, Flag, Parameter(help="Only where a customer waits for an answer, longest first.")] = False,
    limit: Limit = 20,
    json: Json = False,
) -> int:
    """List tickets, newest activity first, or show one with its comments and why each is on it.

    Exit code 1: there is no such ticket.
    """
    from gateway.commands.look import show_tickets

    return show_tickets(ticket_id, channel=channel, waiting=waiting, limit=limit, as_json=json)


@verbs.command(group=LOOK)
def receipts(
    receipt_id: Annotated[str | None, Parameter(help="Show this receipt.")] = None,
    /,
    *,
    outcome: Annotated[Outcome | None, Parameter(help="Only those that ended so.")] = None,
    channel: OfChannel = None,
    limit: Limit = 20,
    json: Json = False,
) -> int:
    """List receipts, newest first, or show what became of one accepted delivery.

    Exit code 1: nothing is recorded under this receipt (yet).
    """
    from gateway.commands.look import show_receipts

    return show_receipts(receipt_id, outcome=outcome, channel=channel, limit=limit, as_json=json)


@verbs.command(name="explain", group=LOOK)
def explain_delivery(
    receipt_id: Annotated[str, Parameter(help="The receipt of the delivery.")], /, *, json: Json = False
) -> int:
    """Explain one delivery: outcome, rule and evidence, tickets that were refused and why, corrections since.

    Exit code 1: nothing is recorded under this receipt (yet).
    """
    from gateway.commands.explain import explain_receipt

    return explain_receipt(receipt_id, as_json=json)


@verbs.command(group=LOOK)
def export() -> int:
    """Print every comment as one JSON line: which message, on which ticket, matched by which rule."""
    from gateway.commands.look import export_comments

    return export_comments()


@verbs.command(group=PROVE)
def audit(*, json: Json = False) -> int:
    """Prove that nothing is lost: accepted = sum of outcomes + still queued.

    Exit code 1: it does not balance; the output says what is missing. 75: the queue cannot be asked what waits in it.
    """
    from gateway.commands.prove import run_audit

    return run_audit(as_json=json)


@verbs.command(group=PROVE)
def check(*, json: Json = False) -> int:
    """Validate the settings and reach every configured service, one line each.

    Exit code 1: one of them failed. An inbox that still lacks credentials, and a certificate that ends soon,
    are named and are no failure.
    """
    from gateway.commands.prove import run_check

    return run_check(as_json=json)


@dead.command(name="list")
def dead_list(
    *, channel: OfChannel = None, inbox: LetterInbox = "", reason: WithReason = "", json: Json = False
) -> int:
    """List dead letters with the reason of each."""
    from gateway.commands.dead import list_letters
    from gateway.dead import Choice

    return list_letters(Choice(channel or "", inbox, reason), as_json=json)


@dead.command(name="show")
def dead_show(letter_id: Letter, /, *, json: Json = False) -> int:
    """Show one dead letter with the message it carries. Exit code 1: there is no such dead letter."""
    from gateway.commands.dead import show_letter

    return show_letter(letter_id, as_json=json)


@dead.command(name="replay")
def dead_replay(
    letter_ids: Annotated[list[int] | None, Parameter(help="Their numbers in `frontdesk dead list`.")] = None,
    /,
    *,
    channel: OfChannel = None,
    inbox: LetterInbox = "",
    reason: WithReason = "",
    all: Annotated[bool, Flag, Parameter(help="All that have not been replayed yet.")] = False,
    dry_run: Annotated[bool, Flag, Parameter(help="Only say what would be replayed.")] = False,
    json: Json = False,
) -> int:
    """Put dead letters back into the queue under the receipt they have. Doing it twice has no second effect."""
    from gateway.commands.dead import replay_letters
    from gateway.dead import Choice

    choice = Choice(channel or "", inbox, reason)
    return replay_letters(letter_ids or [], choice, everything=all, dry_run=dry_run, as_json=json)


@dead.command(name="drop")
def dead_drop(letter_id: Letter, /, *, yes: Annotated[bool, Flag, Parameter(help="Do not ask.")] = False) -> int:
    """Erase one dead letter for good. Its receipt stays and says `dead`."""
    from gateway.commands.dead import drop_letter

    return drop_letter(letter_id, confirmed=yes)


Held = Annotated[list[int], Parameter(help="Their numbers in `frontdesk suspended list`.")]
OfInbox = Annotated[str, Parameter(help="Only those of this inbox.")]
WithCause = Annotated[str, Parameter(help="Only those whose cause contains this.")]
Since = Annotated[str, Parameter(help="Only those received at or after this date or time (UTC).")]
Until = Annotated[str, Parameter(help="Only those received before it.")]


@suspended.command(name="list")
def suspended_list(
    *,
    channel: OfChannel = None,
    inbox: OfInbox = "",
    cause: WithCause = "",
    since: Since = "",
    until: Until = "",
    limit: Limit = 100,
    json: Json = False,
) -> int:
    """List the messages that wait, oldest first, with the cause of each."""
    from gateway.commands.suspended import list_suspended, read_choice

    return list_suspended(read_choice(channel or "", inbox, cause, since, until), limit=limit, as_json=json)


@suspended.command(name="recover")
def suspended_recover(ids: Held, /, *, json: Json = False) -> int:
    """Make tickets of these messages as they are, whatever held them. Doing it twice has no second effect."""
    from gateway.commands.suspended import recover_suspended

    return recover_suspended(ids, as_json=json)


@suspended.command(name="reject")
def suspended_reject(ids: Held, /, *, json: Json = False) -> int:
    """Set these messages aside: they leave the list, are kept with every byte, and can still be recovered."""
    from gateway.commands.suspended import reject_suspended

    return reject_suspended(ids, as_json=json)


@verbs.command(group=KEEP)
def replay(  # noqa: PLR0913  what a person may ask for
    ids: Annotated[list[int] | None, Parameter(help="Their numbers in `frontdesk suspended list`.")] = None,
    /,
    *,
    all: Annotated[bool, Flag, Parameter(help="All that wait.")] = False,
    channel: OfChannel = None,
    inbox: OfInbox = "",
    cause: WithCause = "",
    since: Since = "",
    until: Until = "",
    dry_run: Annotated[bool, Flag, Parameter(help="Only show what would come out.")] = False,
    wait: Annotated[bool, Flag, Parameter(help="Also work here until every message has an outcome.")] = False,
    json: Json = False,
) -> int:
    """Read suspended messages again: their original bytes with this version's code, under the receipt they have.

    What can be read now becomes a ticket, through the queue; what cannot stays suspended with its new cause. Doing it
    twice has no second effect. Dead letters have `frontdesk dead replay`.

    Exit code 1: one of them does not wait, or its original cannot be had.
    """
    from gateway.commands.suspended import read_choice, replay_suspended

    choice = read_choice(channel or "", inbox, cause, since, until)
    return replay_suspended(ids or [], choice, everything=all, dry_run=dry_run, wait=wait, as_json=json)


@verbs.command(group=KEEP)
def migrate() -> int:
    """Bring the database to this version's schema. Safe to repeat and to run from several machines at once."""
    from gateway.commands.running import run_migrations

    return run_migrations()


@verbs.command(group=KEEP)
def backup(folder: Annotated[Path, Parameter(help="A folder that is new or empty.")], /, *, json: Json = False) -> int:
    """Copy an embedded desk while it runs: queue, store, blobs, secrets. Start from the copy by FRONTDESK_DATA_DIR.

    PostgreSQL has its own tools (pg_dump). Exit code 1: the folder is not empty, or a database is damaged.
    """
    from gateway.commands.backup import run_backup

    return run_backup(folder, as_json=json)


@verbs.command(name="console-link", group=KEEP)
def console_link(
    *,
    name: Annotated[str, Parameter(help="Who will use it: corrections made in that session carry the name.")] = "",
    json: Json = False,
) -> int:
    """Print a one-time link that opens the console of the running Frontdesk."""
    from gateway.commands.running import print_console_link

    return print_console_link(name=name, as_json=json)


@verbs.command(group=KEEP)
def bench(  # noqa: PLR0913  options of a command line
    *,
    messages: Annotated[int, Parameter(help="How many of each kind, or of the mix.")] = 5000,
    mix: Annotated[str, Parameter(help="Messages of these channels: form=65,chat=10,mail=15,twitter=5,phone=5.")] = "",
    rate: Annotated[float, Parameter(help="Messages of the mix a second; 0: as fast as they are taken.")] = 0.0,
    month: Annotated[bool, Parameter(help="A simulated month: 25,000 messages, 33,000 deliveries.")] = False,
    running: Annotated[bool, Parameter(help="Drive the desk that the settings describe, not one of its own.")] = False,
    http: Annotated[str, Parameter(help="Where the running desk answers, if not at http_listen.")] = "",
    smtp: Annotated[str, Parameter(help="And where it takes mail, as host:port.")] = "",
    workers: Annotated[int, Parameter(help="Worker processes on RabbitMQ + PostgreSQL.")] = 1,
    gateways: Annotated[int, Parameter(help="And gateways, for --mix and --month.")] = 1,
    only: Annotated[
        Literal["reading", "embedded", "services", "flood", "storm"] | None, Parameter(help="Measure one part of it.")
    ] = None,
    queue_url: Annotated[str, Parameter(help="Use this RabbitMQ virtual host, not a private server.")] = "",
    store_url: Annotated[str, Parameter(help="Use this PostgreSQL database, which the bench may fill.")] = "",
    grow: Annotated[int, Parameter(help="Tickets: what recording costs on 10,000 of them, and on this many.")] = 0,
    write: Annotated[Path | None, Parameter(help="Measure everything, and write the tables here as Markdown.")] = None,
    json: Json = False,
) -> int:
    """Measure messages accepted and messages in tickets a second, embedded and on RabbitMQ + PostgreSQL.

    2 KB form posts and 2 KB mails go through the real doors of real processes; with --mix messages of every channel,
    with --month a month of them. Beside the first stand the bare costs of confirmed publishes and of rows in batches.
    `reading` is what it costs to read a mail, `flood` what hostile mails cost the customers who use the form, `storm`
    what two thousand posts a second cost them and those who call.

    Starts private servers; the second half needs Debian's rabbitmq-server and postgresql. With --running it fills the
    queue and the store of that desk with made-up customers: use it before there are real ones.
    Exit code 1: an audit did not balance, or something could not be measured.
    """
    from gateway.commands.running import run_bench

    return run_bench(
        messages=messages,
        mix=mix,
        rate=rate,
        month=month,
        running=running or bool(http or smtp),
        http=http,
        smtp=smtp,
        workers=workers,
        gateways=gateways,
        only=only or "",
        queue_url=queue_url,
        store_url=store_url,
        grow=grow,
        write=write,
        as_json=json,
    )


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    if arguments[:1] == ["pipe"]:
        from gateway.pipe import main

        return main(arguments[1:])  # a mail server bounces the mail on every code but 75, on a typing error too
    return run_verb(arguments)


def run_verb(arguments: Sequence[str]) -> int:
    """The same without the pipe's guard. Expected errors are a sentence on standard error."""
    from gateway.commands.failures import USAGE, explain

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a Latin-1 terminal must not end a listing
    try:
        result = verbs(list(arguments))
        sys.stdout.flush()
    except CycloptsError as error:
        print(f"frontdesk: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has seen enough: frontdesk export | head
        sys.stdout = None  # the interpreter would flush into the closed pipe
        return 141
    except Exception as error:
        told = explain(error)
        if told is None:
            raise
        print(f"frontdesk: {told[1]}", file=sys.stderr)
        return told[0]
    return result if isinstance(result, int) else 0


def app() -> NoReturn:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
