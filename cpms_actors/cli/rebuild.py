"""`cpms rebuild`: is the database what the journal makes of it?"""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from cpms_actors.cli.output import JsonOption, explained, print_json, print_line, print_table

if TYPE_CHECKING:
    from cpms_actors.pools.rebuilding import Progress, Rebuilt


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rebuild)


def rebuild(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="Of each table name at most so many rows.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Replay the journal into an empty database and compare: identical checksums per table, or the rows that differ.

    Nothing in use is changed, and the system may go on meanwhile. It needs the owner's right to make a database (CREATEDB), and
    makes `cpms_rebuild`, which goes at the end. Where the journal was purged, what began before it is not compared. Exits with 1 when
    something differs.

    \b
    Examples:
      cpms rebuild
      cpms rebuild --json
    """
    with explained(as_json):
        found = _rebuild(limit, quiet=as_json)
    if as_json:
        print_json(found)
    else:
        _show(found)
    if not found.identical:
        raise typer.Exit(1)


def _rebuild(limit: int, *, quiet: bool) -> "Rebuilt":
    import anyio

    from cpms_actors.cli.stack import attached
    from cpms_actors.pools.rebuilding import rebuild as work

    settings = attached()

    def run(show: "Progress") -> "Rebuilt":
        return anyio.run(partial(work, settings, limit=limit, progress=show), backend_options={"use_uvloop": True})

    if quiet:
        return run(_silent)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = TextColumn("pages"), BarColumn(), MofNCompleteColumn()
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        return run(lambda pages, total: bar.update(task, completed=pages, total=total))


def _silent(pages: int, total: int) -> None:
    """For programs."""


def _show(found: "Rebuilt") -> None:
    print_table(
        ["table", ">rows", ">rebuilt", "checksum", "rebuilt", "identical"],
        [(t.table, t.stored.rows, t.rebuilt.rows, t.stored.sum, t.rebuilt.sum, "yes" if t.identical else "NO") for t in found.tables],
        empty="no tables",
    )
    for table in found.tables:
        for row in table.differing:
            how = "is in the journal only" if row.stored is None else "is in the database only" if row.rebuilt is None else "differs"
            print_line(f"{table.table}: {row.key} {how}")
    print_line(f"{found.pages} pages with {found.events} events replayed, {found.cdrs} CDRs drawn up")
    if found.since is not None:
        print_line(f"what began before {found.since:%Y-%m-%d %H:%M} UTC was not compared: its pages were purged")
    print_line(
        "the database is what the journal makes of it" if found.identical else "the database is NOT what the journal makes of it"
    )
