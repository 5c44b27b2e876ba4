"""What is made durable, and in which order: a body before its name, a folder's name with the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.durable import make_folder, write_new
from gateway.queues.base import Outgoing
from gateway.queues.bodies import LARGE, Bodies
from gateway.store.blobs import Blobs, BlobsUnavailableError


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was given to fsync, in order."""
    seen: list[Path] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        seen.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return seen


def test_every_folder_made_has_a_durable_name(tmp_path: Path, synced: list[Path]) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    assert synced == [tmp_path / "a" / "b", tmp_path / "a", tmp_path]
    make_folder(tmp_path / "a" / "b" / "c")
    assert len(synced) == 3


def test_a_folder_whose_name_cannot_be_synced_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks next would find it, and take its name for durable."""

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken, pytest.raises(OSError, match="Input/output"):
        broken.setattr(os, "fsync", fail)
        make_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    make_folder(tmp_path / "a" / "b")


def test_only_we_may_enter_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("size", "times"), [(0, 1), (1, 1), (262_144, 1), (262_145, 2), (1_000_000, 4)])
def test_a_large_file_reaches_the_disk_in_pieces(tmp_path: Path, synced: list[Path], size: int, times: int) -> None:
    content = os.urandom(size)
    write_new(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == content
    assert synced == [tmp_path / "a"] * times


async def test_the_first_large_body_survives_with_its_folder(tmp_path: Path, synced: list[Path]) -> None:
    folder = tmp_path / "queue.db.bodies"
    await Bodies(folder).put_apart([Outgoing(b"x" * (LARGE + 1), "type", "receipt", "email", "support")])
    [body] = folder.iterdir()
    assert synced == [tmp_path, body, folder]


async def test_the_first_blob_survives_with_its_folders(tmp_path: Path, synced: list[Path]) -> None:
    blobs = Blobs(tmp_path / "blobs")
    name = await blobs.put(b"a picture")
    blobs.close()
    folder = blobs.path(name).parent
    assert set(synced[:2]) == {tmp_path, tmp_path / "blobs"}
    assert synced[2].name.startswith(name)
    assert synced[3:] == [folder]


@pytest.mark.parametrize("good", [0, 1, 2])
async def test_a_blob_of_which_one_piece_does_not_reach_the_disk_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    blobs, content, pieces = Blobs(tmp_path / "blobs"), os.urandom(600_000), iter(range(good))
    await blobs.put(content[:1])
    real = os.fsync

    def fail(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".part" and next(pieces, None) is None:
            raise OSError(5, "Input/output error")
        real(descriptor)

    with monkeypatch.context() as broken, pytest.raises(BlobsUnavailableError, match="Input/output"):
        broken.setattr(os, "fsync", fail)
        await blobs.put(content)
    assert [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()] == [1]
    assert await blobs.get(await blobs.put(content)) == content
    blobs.close()
