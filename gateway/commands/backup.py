"""`frontdesk backup`."""

from __future__ import annotations

from pathlib import Path

from gateway.commands.failures import NOT_SO, OK, CommandError
from gateway.commands.output import print_json, print_line
from gateway.settings import load_settings
from gateway.store.backup import BackupError, back_up


def run_backup(folder: Path, *, as_json: bool) -> int:
    """Copy the running desk into a new folder and say what was copied."""
    try:
        made = back_up(load_settings(), folder)
    except BackupError as error:
        raise CommandError(str(error), NOT_SO) from None
    if as_json:
        facts = {"queue_bytes": made.queue_bytes, "store_bytes": made.store_bytes, "blobs": made.blobs}
        print_json({"folder": str(made.folder), **facts})
    else:
        print_line(
            f"copied to {made.folder}: queue {made.queue_bytes} B, store {made.store_bytes} B, {made.blobs} blobs"
        )
        print_line(f"to start from it: FRONTDESK_DATA_DIR={made.folder} frontdesk up")
    return OK
