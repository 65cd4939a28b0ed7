"""A backup as it lies on disk: a folder of files, and a manifest that names them all with their checksums.

The manifest is written last, and a folder without one is no backup. Whatever fails takes along what it has written so far.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

from cpms_actors.base.errors import OperatorError
from cpms_actors.bus.snapshots import Snapshot
from cpms_actors.store.dumping import TableDump

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
CREDENTIAL_KEY: Final = "credential_key"
READ_BYTES: Final = 128 * 1024

Write = Callable[[bytes], None]


class File(Struct, frozen=True):
    """A file of the folder."""

    name: str
    bytes: int
    sha256: str


class LaneDump(Struct, frozen=True):
    """A lane: up to where the tables have it folded, and which pages of it the journal has at least."""

    lane: int
    folded: int
    first: int
    last: int


class StreamDump(Struct, frozen=True):
    """A stream of the broker."""

    stream: str
    file: str
    snapshot: Snapshot


class Manifest(Struct, frozen=True, kw_only=True):
    """What a backup consists of. `tables` stand in the order in which they are loaded; `journal` is the stream that the lanes name."""

    format: int
    created_at: datetime
    release: str
    migrations: dict[int, str]
    tables: list[TableDump]
    sequences: dict[str, int | None]
    days: list[str]
    journal: str
    lanes: list[LaneDump]
    streams: list[StreamDump]
    files: list[File]

    @property
    def bytes(self) -> int:
        """The size of it all."""
        return sum(file.bytes for file in self.files)


class _Format(Struct, frozen=True):
    format: int


class Draft:
    """A backup that is being written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[File] = []

    @contextmanager
    def file(self, name: str) -> Iterator[Write]:
        """A new file: write it with what the block gets. Raises OperatorError when the disk does not take it."""
        digest, size = sha256(), 0
        with _refused(self.folder):
            file = _opened(self.folder / name)
        with file:

            def write(data: bytes) -> None:
                nonlocal size
                with _refused(self.folder):
                    file.write(data)
                digest.update(data)
                size += len(data)

            yield write
            with _refused(self.folder):
                file.flush()
                os.fsync(file.fileno())
        self.files.append(File(name, size, digest.hexdigest()))

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest: from now on it is a backup."""
        draft = self.folder / f".{MANIFEST}"
        with _refused(self.folder):
            with _opened(draft) as file:
                file.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self.folder / MANIFEST)
            _sync(self.folder)


def _opened(path: Path) -> BinaryIO:
    """A new file that only its owner may read: it holds digests of passwords and who charged where."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _sync(folder: Path) -> None:
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _refused(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        text = f"cannot write the backup to {folder}: {error.strerror or error}; make room, or name another folder"
        raise OperatorError("backup-folder", text) from None


@contextmanager
def drafted(folder: Path) -> Iterator[Draft]:
    """A folder for a backup, new or empty. Unless the block comes to its end what it wrote is removed."""
    made = not folder.exists()
    with _refused(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise OperatorError("backup-folder", f"{folder} is not empty; name a folder that does not exist yet")
    try:
        yield Draft(folder)
    except BaseException:
        with suppress(OSError):
            if made:
                shutil.rmtree(folder)
            else:
                for path in folder.iterdir():
                    path.unlink()
        raise


def read_manifest(folder: Path) -> Manifest:
    """What a folder says that it holds. Raises OperatorError when it is no backup, or one of a newer release."""
    try:
        data = (folder / MANIFEST).read_bytes()
        found = msgspec.json.decode(data, type=_Format).format
        if found > FORMAT:
            text = f"the backup in {folder} has format {found}, this release reads {FORMAT}; restore it with the release that made it"
            raise OperatorError("backup-newer", text)
        return msgspec.json.decode(data, type=Manifest)
    except OSError as error:
        text = f"{folder} is no backup: its {MANIFEST} cannot be read ({error.strerror}); name the folder that `cpms backup` made"
        raise OperatorError("backup-manifest", text) from None
    except msgspec.DecodeError as error:
        raise OperatorError("backup-damaged", f"{folder / MANIFEST} is damaged ({error}); use another backup") from None


def verify(folder: Path, manifest: Manifest) -> None:
    """Compare every file with its checksum. Raises OperatorError for the first that differs; nothing was changed then."""
    listed = {file.name for file in manifest.files}
    for name in [*(table.file for table in manifest.tables), *(stream.file for stream in manifest.streams)]:
        if name not in listed:
            raise OperatorError("backup-damaged", f"the manifest of {folder} has no checksum for {name}; use another backup")
    for file in manifest.files:
        if Path(file.name).name != file.name:
            raise OperatorError(
                "backup-damaged", f"the manifest of {folder} names {file.name!r}, which is no file of it; use another backup"
            )
        digest = sha256()
        try:
            for chunk in chunks(folder / file.name):
                digest.update(chunk)
        except OSError as error:
            raise OperatorError(
                "backup-damaged", f"{folder / file.name} cannot be read: {error.strerror}; use another backup"
            ) from None
        if digest.hexdigest() != file.sha256:
            raise OperatorError("backup-damaged", f"{folder / file.name} is not what was written; use another backup")


def chunks(path: Path) -> Iterator[bytes]:
    """The content of a file, piece by piece."""
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            yield chunk
