"""`cpms backup` and `cpms restore`: the whole system as a folder, and back."""

import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cpms_actors.cli.output import JsonOption, explained, print_json, print_line

if TYPE_CHECKING:
    from cpms_actors.pools.backup_files import Manifest

FolderArgument = Annotated[Path, typer.Argument(help="The folder of the backup.", show_default=False)]


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(backup)
    app.command()(restore)


def backup(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Write a backup into a new folder: Postgres as of one moment, and the journal as of a later one.

    The system goes on meanwhile. The folder holds the key of the chargers' passwords and who charged where: keep it as safe as
    the system itself. Without its manifest.json, which is written last, it is no backup.

    \b
    Examples:
      cpms backup /var/backups/cpms/2031-01-31
      cpms backup nightly --json
    """
    from cpms_actors.cli.stack import attached
    from cpms_actors.pools.backing_up import backup as work

    began = time.monotonic()
    manifest = _done(as_json, lambda: work(attached(), folder, say=_say(as_json)))
    _tell(as_json, folder, manifest, began)
    if not as_json:
        print_line(f"{folder} is a backup of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC, {manifest.bytes / 1e6:.1f} MB")


def restore(
    folder: FolderArgument,
    data: Annotated[Path | None, typer.Option(help="Where data is to lie. [default: .cpms]", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into an empty system, before anything of it is started.

    Without servers of your own that is a data directory of which `cpms up` has never made use; `cpms up` goes on from there. With
    CPMS_NATS_URL and CPMS_POSTGRES_DSN (and CPMS_POSTGRES_OWNER_DSN) it is those servers, without workers and pools. Then what chargers
    have said after the moment of the tables is read from the journal.

    \b
    Examples:
      cpms restore /var/backups/cpms/2031-01-31 && cpms up
    """
    from cpms_actors.cli.stack import with_data
    from cpms_actors.node.restoring import restore as work

    began = time.monotonic()
    manifest = _done(as_json, lambda: work(with_data(data), os.environ, folder, say=_say(as_json)))
    _tell(as_json, folder, manifest, began)
    if not as_json:
        print_line(f"restored, with all that was kept until {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC or later; start the system now")


def _done(as_json: bool, work: "Callable[[], Awaitable[Manifest]]") -> "Manifest":
    import anyio

    async def run() -> "Manifest":
        return await work()

    with explained(as_json):
        return anyio.run(run, backend_options={"use_uvloop": True})


def _say(as_json: bool) -> Callable[[str], None]:
    return partial(_say_line, quiet=as_json)


def _say_line(line: str, *, quiet: bool) -> None:
    if not quiet:
        sys.stderr.write(f"cpms: {line}\n")


def _tell(as_json: bool, folder: Path, manifest: "Manifest", began: float) -> None:
    if as_json:
        print_json(
            {
                "folder": str(folder.absolute()),
                "created_at": manifest.created_at,
                "release": manifest.release,
                "migration": max(manifest.migrations, default=0),
                "bytes": manifest.bytes,
                "took_s": round(time.monotonic() - began, 3),
                "tables": {dumped.table: dumped.rows for dumped in manifest.tables},
                "lanes": manifest.lanes,
            }
        )
