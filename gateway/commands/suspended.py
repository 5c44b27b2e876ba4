"""`frontdesk replay` and `frontdesk suspended`: what is held for a person."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from gateway.commands.desk import finish, opened, record_everything
from gateway.commands.failures import NOT_SO, OK, USAGE, CommandError
from gateway.commands.output import note, one_line, print_json, print_line, print_table
from gateway.replay import Reread, replay
from gateway.store.paging import Row
from gateway.store.recovering import recover, reject, tickets_of
from gateway.store.suspended import Choice, choose, get_held
from normalizer.message import Draft, MessageDraft

_COLUMNS: Final = ("id", "receipt_id", "channel", "inbox", "author", "subject", "cause", "received_at")
_MOST: Final = 100_000


def read_choice(channel: str, inbox: str, cause: str, since: str, until: str) -> Choice:
    """What the options say. Raises `CommandError` for what is no time."""
    return Choice(channel, inbox, cause, _moment("--since", since), _moment("--until", until))


def list_suspended(choice: Choice, *, limit: int, as_json: bool) -> int:
    """Print those that wait."""

    async def run() -> list[Row]:
        async with opened(store_only=True) as runtime:
            return await runtime.store.read(choose, choice, limit)

    rows = finish(run())
    if as_json:
        for row in rows:
            print_json({name: row[name] for name in (*_COLUMNS, "replayed_at", "replayed_by")})
    else:
        print_table(_COLUMNS, [[row[name] for name in _COLUMNS] for row in rows], empty="nothing is suspended")
    return OK


def replay_suspended(
    ids: Sequence[int], choice: Choice, *, everything: bool, dry_run: bool, wait: bool, as_json: bool
) -> int:
    """Read those that wait again; see `frontdesk replay --help`."""
    if bool(ids) == (everything or choice != Choice()):
        raise CommandError("name the suspended messages, or give filters, or --all", USAGE)
    return finish(_replay(ids, choice, dry_run=dry_run, wait=wait, as_json=as_json))


async def _replay(ids: Sequence[int], choice: Choice, *, dry_run: bool, wait: bool, as_json: bool) -> int:
    code, count, held = OK, 0, 0
    async with opened() as runtime:
        chosen = list(ids)
        for ident in ids:
            if await runtime.store.read(get_held, ident) is None:
                raise CommandError(f"no suspended message {ident} waits", NOT_SO)
        if not ids:
            chosen = [row["id"] for row in await runtime.store.read(choose, choice, _MOST)]
        async for one in replay(runtime, chosen, actor=_actor(), dry_run=dry_run):
            count += 1
            held += bool(one.cause or one.error)
            code = NOT_SO if one.error else code
            _tell(one, as_json=as_json)
        if wait and not dry_run:
            await record_everything(runtime)
    if not as_json:
        did = "would read" if dry_run else "read"
        print_line(f"{did} {count} again: {count - held} can be recorded, {held} stay suspended")
    return code


def _tell(one: Reread, *, as_json: bool) -> None:
    if as_json:
        told = {"id": one.suspended_id, "receipt_id": one.receipt_id, "was": one.was}
        print_json(
            {**told, "error": one.error or None, "cause": one.cause or None, "reads_as": list(map(_shown, one.drafts))}
        )
        return
    if one.error:
        note(f"{one.suspended_id}: {one.error}; nothing was done")
        return
    said = f"still held: {one.cause}" if one.cause else "; ".join(_sentence(draft) for draft in one.drafts)
    print_line(f"{one.suspended_id}  {one.receipt_id}  {one_line(said)}")


def _shown(draft: Draft) -> dict[str, Any]:
    if not isinstance(draft, MessageDraft):
        return {"kind": draft.kind, "external_id": draft.external_id, "reason": draft.reason, "facts": draft.facts}
    told = {name: getattr(draft, name) for name in ("external_id", "subject", "text", "suspend")}
    return {"kind": "message", "author": draft.author.value, **told, "attachments": len(draft.attachments)}


def _sentence(draft: Draft) -> str:
    if not isinstance(draft, MessageDraft):
        return f"{draft.kind}: {draft.reason or draft.external_id}"
    return f"a message by {draft.author.value or 'nobody in particular'}: {draft.subject or draft.text[:80]}"


def recover_suspended(ids: Sequence[int], *, as_json: bool) -> int:
    """Let these in as they are."""

    async def run() -> dict[int, int | None]:
        async with opened() as runtime:
            rules, ours = runtime.recording()
            how: dict[str, Any] = {"rules": rules, "ours": ours}
            await runtime.store.write(recover, ids, actor=_actor(), now=datetime.now(UTC), **how)
            return await runtime.store.read(tickets_of, ids)

    found = finish(run())
    for ident, ticket in found.items():
        if as_json:
            print_json({"id": ident, "ticket_id": ticket})
        else:
            print_line(f"{ident}: on ticket {ticket}" if ticket else f"{ident}: recorded, on no ticket")
    return _missing(ids, list(found))


def reject_suspended(ids: Sequence[int], *, as_json: bool) -> int:
    """Set these aside. They are kept, and can still be recovered."""

    async def run() -> list[int]:
        async with opened(store_only=True) as runtime:
            return await runtime.store.write(reject, ids, actor=_actor(), now=datetime.now(UTC))

    found = finish(run())
    if as_json:
        print_json({"rejected": found})
    else:
        print_line(f"set aside: {', '.join(map(str, found)) or 'none'}")
    return _missing(ids, found)


def _missing(ids: Sequence[int], found: Sequence[int]) -> int:
    unknown = [str(ident) for ident in ids if ident not in found]
    if unknown:
        note(f"there is no suspended message {', '.join(unknown)}")
    return NOT_SO if unknown else OK


def _actor() -> str:
    """Who is said to have done it: the account on this machine."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError):  # a container's user without a name
        return "command line"


def _moment(option: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option} takes a date or a time, such as 2026-08-01 or 2026-08-01T12:00Z", USAGE) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
