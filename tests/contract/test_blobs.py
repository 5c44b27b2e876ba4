"""Blobs: durable when told so, refused early on a full disk, whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.store import blobs as module
from gateway.store.blobs import Blobs, BlobsUnavailableError


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[Blobs]:
    opened = Blobs(tmp_path / "blobs")
    yield opened
    opened.close()


async def test_what_was_put_is_there_under_its_hash(blobs: Blobs) -> None:
    name = await blobs.put(b"a picture")
    assert name == hashlib.sha256(b"a picture").hexdigest()
    assert await blobs.put(b"a picture") == name
    assert await blobs.get(name) == b"a picture"
    with pytest.raises(KeyError):
        await blobs.get("0" * 64)


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"min_free_bytes": 1 << 60}, "MiB free"), ({"min_free_inodes": 1 << 60}, "inodes")],
)
async def test_a_disk_that_is_almost_full_takes_nothing_more(
    limits: dict[str, int], words: str, tmp_path: Path
) -> None:
    if words == "inodes" and not os.statvfs(tmp_path).f_files:
        return  # no fixed number of inodes here: nothing to run short of
    tight = Blobs(tmp_path / "blobs", **limits)
    with pytest.raises(BlobsUnavailableError, match=words):
        await tight.put(b"a picture")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    roomy = Blobs(tmp_path / "blobs")  # somebody made room
    await roomy.put(b"a picture")
    tight.close()
    roomy.close()


async def test_a_folder_that_cannot_be_synced_keeps_no_promise(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """An fsync that failed once may succeed the second time without having written anything: the blob is made anew."""
    real, failures = module.sync, [0]

    def fail(folder: Path) -> None:
        real(folder)
        if any(folder.iterdir()):
            failures[0] += 1
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, "sync", fail)
    (blobs.root / hashlib.sha256(b"x").hexdigest()[:2]).mkdir(parents=True)
    with pytest.raises(BlobsUnavailableError):
        await blobs.put(b"x")
    assert failures == [1]
    [kept] = [path for path in blobs.root.rglob("*") if path.is_file()]
    before = kept.stat().st_ino
    monkeypatch.setattr(module, "sync", real)
    assert await blobs.get(await blobs.put(b"x")) == b"x"
    assert kept.stat().st_ino != before


async def test_a_put_that_fails_takes_nothing_from_another_one(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """One mail to two inboxes is put twice at once; whoever was told that it is durable must find it."""
    real, syncing, told = module.sync, threading.Event(), threading.Event()

    def fail_slowly(folder: Path) -> None:
        monkeypatch.setattr(module, "sync", real)
        syncing.set()
        assert told.wait(20)
        raise OSError(24, "Too many open files")

    data = b"the same mail"
    (blobs.root / hashlib.sha256(data).hexdigest()[:2]).mkdir(parents=True)
    monkeypatch.setattr(module, "sync", fail_slowly)
    first = asyncio.create_task(blobs.put(data))
    assert await asyncio.to_thread(syncing.wait, 20)
    name = await blobs.put(data)
    told.set()
    with pytest.raises(BlobsUnavailableError):
        await first
    assert await blobs.get(name) == data
