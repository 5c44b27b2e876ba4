"""The verbs that run something or set it up: up, serve, work, poll, demo, bench, migrate, console-link."""

# ruff: noqa: PLC0415  each verb loads only what it runs

from __future__ import annotations

import gc
from importlib import import_module
from pathlib import Path
from typing import Any

from gateway.commands.desk import finish
from gateway.commands.failures import OK, USAGE, CommandError
from gateway.commands.output import print_json, print_line
from gateway.settings import load_settings


def serve_roles(roles: set[str], *, quiet: bool) -> int:
    """Run these roles until a signal ends them."""
    from gateway.up import run

    return finish(run(load_settings(), roles, quiet=quiet)) or OK


def run_demo(*, exit_after: bool, data_dir: Path | None) -> int:
    """Run the demonstration; its own exit code."""
    from gateway.demo import demo

    return finish(demo(exit_after, data_dir))


def run_migrations() -> int:
    """Bring the database to this version's schema."""
    from gateway.commands.desk import opened
    from gateway.store.migrate import migrate

    async def upgrade() -> tuple[str | None, str]:
        async with opened(store_only=True) as runtime:
            return await runtime.store.write(migrate)

    before, now = finish(upgrade())
    if before == now:
        print_line(f"the database is at {now}, nothing to do")
    else:
        print_line(f"migrated the database from {before or 'nothing'} to {now}")
    return OK


def print_console_link(*, name: str, as_json: bool) -> int:
    """Print a link that opens the console once. It is signed with a secret of the data folder, so any process can.

    `name`: who will use it; what is corrected in that session says so.
    """
    from gateway.runtime import Runtime

    runtime = Runtime(load_settings())
    try:
        token = runtime.logins.issue(name)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from None
    link = f"{runtime.settings.base_url}/console/login?token={token}"
    if as_json:
        print_json({"url": link})
    else:
        print_line(link)
    return OK


def run_bench(*, as_json: bool, **asked: Any) -> int:
    """Measure; see `frontdesk bench --help`. `asked`: the fields of `gateway.bench.Asked`."""
    try:
        module = import_module("gateway.bench")
    except ModuleNotFoundError as error:
        raise CommandError(f"this installation cannot measure: {error}", USAGE) from None
    gc.disable()  # looking through what the client holds takes a tenth of a second, for which the desk would be blamed
    try:
        return int(finish(module.bench(module.Asked(**asked), as_json=as_json)))
    finally:
        gc.enable()
