"""A folder is a backup once its manifest is there, and only while every file is what was written."""

import errno
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import pytest

from cpms_actors.base.errors import OperatorError
from cpms_actors.pools import backup_files
from cpms_actors.pools.backup_files import FORMAT, MANIFEST, File, Manifest, drafted, read_manifest, verify
from cpms_actors.store.dumping import BLOCK, BLOCKS_SKIPPED, TableDump, skipped

TABLE: Final = TableDump("tokens", ["id"], 1, "table.tokens.copy")


def manifest(files: list[File], **fields: object) -> Manifest:
    known: dict[str, object] = {
        "format": FORMAT,
        "created_at": datetime(2031, 1, 31, tzinfo=UTC),
        "release": "1.0",
        "migrations": {1: "abc"},
        "tables": [TABLE],
        "sequences": {"s": 7, "t": None},
        "days": ["meter_values_20310131"],
        "journal": "j",
        "lanes": [],
        "streams": [],
        "files": files,
    }
    return msgspec.convert(msgspec.to_builtins(known | fields), Manifest)


def written(folder: Path) -> Manifest:
    with drafted(folder) as draft:
        with draft.file(TABLE.file) as write:
            write(b"some ")
            write(b"rows")
        done = manifest(draft.files)
        draft.finish(done)
    return done


def test_what_was_written_is_read_again_and_found_whole(tmp_path: Path) -> None:
    done = written(tmp_path / "b")
    assert read_manifest(tmp_path / "b") == done
    assert done.bytes == len(b"some rows")
    verify(tmp_path / "b", done)
    assert (tmp_path / "b" / TABLE.file).stat().st_mode & 0o077 == 0


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        with drafted(folder) as draft, draft.file("a") as write:
            write(b"x")
            raise RuntimeError

    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with pytest.raises(RuntimeError):
            fails(tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(backup_files.os, "fsync", full)
    with pytest.raises(OperatorError, match="No space left on device; make room"):
        written(tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(OperatorError, match="is not empty"), drafted(tmp_path):
        pass
    assert (tmp_path / "mine").exists()


def _cut(folder: Path) -> None:
    (folder / TABLE.file).write_bytes(b"some row")


def _flip(folder: Path) -> None:
    (folder / TABLE.file).write_bytes(b"some rowz")


def _lose(folder: Path) -> None:
    (folder / TABLE.file).unlink()


@pytest.mark.parametrize("damage", [_cut, _flip, _lose])
def test_a_damaged_file_is_named(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    done = written(tmp_path / "b")
    damage(tmp_path / "b")
    with pytest.raises(OperatorError, match=TABLE.file) as raised:
        verify(tmp_path / "b", done)
    assert raised.value.code == "backup-damaged"


def test_a_manifest_names_files_of_its_folder_and_all_that_it_needs(tmp_path: Path) -> None:
    done = written(tmp_path / "b")
    with pytest.raises(OperatorError, match="no checksum"):
        verify(tmp_path / "b", manifest([]))
    outside = File("../b/" + TABLE.file, done.files[0].bytes, done.files[0].sha256)
    with pytest.raises(OperatorError, match="no file of it"):
        verify(tmp_path / "b", manifest([*done.files, outside]))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "backup-manifest"),
        ("{", "backup-damaged"),
        ('{"format":1}', "backup-damaged"),
        (f'{{"format":{FORMAT + 1}}}', "backup-newer"),
    ],
)
def test_what_is_no_backup_of_ours_is_refused(tmp_path: Path, text: str | None, code: str) -> None:
    if text is not None:
        (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(OperatorError) as raised:
        read_manifest(tmp_path)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("last", "then"),
    [(1, 1 + BLOCKS_SKIPPED * BLOCK), (5001, 5001 + BLOCKS_SKIPPED * BLOCK), (1_999_998_001, 1 + (BLOCKS_SKIPPED - 1) * BLOCK)],
)
def test_transaction_ids_go_on_far_ahead_and_round_as_their_sequence_does(last: int, then: int) -> None:
    assert skipped(last) == then
