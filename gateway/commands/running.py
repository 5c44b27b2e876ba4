"""The verbs that run something or set it up: up, serve, work, poll, demo, bench, migrate, console-link."""

# ruff: noqa: PLC0415  each verb loads only what it runs

from __future__ import annotations

from pathlib import Path

from gateway.commands.desk import finish
from gateway.commands.failures import OK
from gateway.settings import load_settings


def serve_roles(roles: set[str], *, quiet: bool) -> int:
    """Run these roles until a signal ends them."""
    from gateway.up import run

    return finish(run(load_settings(), roles, quiet=quiet)) or OK


def run_demo(*, exit_after: bool, data_dir: Path | None) -> int:
    """Run the demonstration; its own exit code."""
    from gateway.demo import demo

    return finish(demo(exit_after, data_dir))
