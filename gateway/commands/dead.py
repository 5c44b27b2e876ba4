"""`frontdesk dead`: what could not be recorded, kept until a person decides."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway import dead
from gateway.commands.desk import finish, opened
from gateway.commands.failures import NOT_SO, OK, USAGE, CommandError
from gateway.commands.output import note, one_line, print_json, print_line, print_table

_COLUMNS = ("id", "receipt_id", "channel", "inbox", "attempts", "reason", "died_at", "replayed_at")


def list_letters(choice: dead.Choice, *, as_json: bool) -> int:
    """Print the dead letters."""

    async def run() -> list[dict[str, Any]]:
        async with opened(store_only=True) as runtime:
            return await runtime.store.read(dead.list_dead, choice)

    letters = finish(run())
    if as_json:
        for letter in letters:
            print_json({key: letter.get(key) for key in _COLUMNS})
    else:
        print_table(_COLUMNS, [[letter.get(key) for key in _COLUMNS] for letter in letters], empty="no dead letters")
    return OK


def show_letter(letter_id: int, *, as_json: bool) -> int:
    """Print one dead letter and the message in it."""

    async def run() -> dict[str, Any] | None:
        async with opened(store_only=True) as runtime:
            return await runtime.store.read(dead.show_dead, letter_id)

    letter = finish(run())
    if letter is None:
        raise CommandError(f"there is no dead letter {letter_id}", NOT_SO)
    body = _readable(letter.pop("body", b""))
    if as_json:
        print_json({**letter, "body": body})
        return OK
    for key, value in letter.items():
        print_line(f"{key.replace('_', ' ')}: {one_line(value)}")
    print_line(body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False))
    return OK


def _readable(body: bytes) -> Any:
    """The JSON in a body; what is no JSON (perhaps that is why it died) as text."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "backslashreplace")


def replay_letters(
    letter_ids: Sequence[int], choice: dead.Choice, *, everything: bool, dry_run: bool, as_json: bool
) -> int:
    """Put dead letters back into the queue: these, or those chosen that have not been recorded since, or all such."""
    filtered = choice != dead.Choice()
    if bool(letter_ids) + everything + filtered != 1:
        raise CommandError("name the dead letters to replay, or give --channel, --inbox, --reason, or --all", USAGE)

    async def run() -> list[int]:
        async with opened() as runtime:
            if not letter_ids:
                waiting = await runtime.store.read(dead.choose_dead, replace(choice, replayed=False))
                return await dead.replay(runtime, waiting, dry_run)
            known = set(await runtime.store.read(dead.choose_dead, dead.Choice()))
            if unknown := [str(number) for number in letter_ids if number not in known]:
                raise CommandError(f"there is no dead letter {', '.join(unknown)}", NOT_SO)
            return await dead.replay(runtime, letter_ids, dry_run)

    chosen = finish(run())
    if as_json:
        print_json({"replayed": [] if dry_run else chosen, "would_replay": chosen if dry_run else []})
    else:
        print_line(
            f"{'would replay' if dry_run else 'replayed'} {len(chosen)}: {', '.join(map(str, chosen)) or 'none'}"
        )
    return OK


def drop_letter(letter_id: int, *, confirmed: bool) -> int:
    """Erase one dead letter after a yes."""
    if not confirmed:
        if not sys.stdin.isatty():
            raise CommandError("this erases a customer's message for good; say --yes", USAGE)
        note(f"Dead letter {letter_id} holds a customer's message. Erase it for good? Type yes:")
        if sys.stdin.readline().strip().lower() != "yes":
            raise CommandError("kept", NOT_SO)

    async def run() -> bool:
        async with opened(store_only=True) as runtime:
            return await runtime.store.write(dead.drop, letter_id)

    if not finish(run()):
        raise CommandError(f"there is no dead letter {letter_id}", NOT_SO)
    print_line(f"erased dead letter {letter_id}")
    return OK
