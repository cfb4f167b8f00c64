"""`quire gc`: show what could be deleted, then delete it."""

from dataclasses import asdict
from typing import Annotated

import typer

from quire.commands.server.backup import require_database, settings_of
from quire.commands.server.options import DataDir
from quire.server.parts import require_server
from quire.terminal.console import Json, escape, print_json, print_note, print_table
from quire.terminal.formatting import size

Days = Annotated[float | None, typer.Option(min=0, metavar="DAYS", help="Keep them so long.")]


def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Delete it. By default it is shown.")] = False,
    jobs_days: Days = None,
    texts_days: Days = None,
    events_days: Days = None,
    metrics_days: Days = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show what is older than the settings keep it and belongs to nothing; --yes deletes it.

    The database is that of DATABASE_URL, or of the data directory; the server may run. Options
    replace the settings for this once. What something else refers to is never deleted.
    """
    require_server("gc")
    settings = settings_of(
        data_dir,
        keep_jobs_days=jobs_days,
        keep_texts_days=texts_days,
        keep_events_days=events_days,
        keep_metrics_days=metrics_days,
    )
    require_database(settings)
    from quire.server.garbage import collect_garbage, find_garbage

    found = find_garbage(settings)
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        print_table(
            ("WHAT", "KEPT", "COULD GO>", "SIZE>"),
            [
                (
                    each.what,
                    escape(each.kept),
                    f"{each.count:,}",
                    "" if each.size_bytes is None else size(each.size_bytes),
                )
                for each in found
            ],
            empty="",
        )
    if yes:
        for done in collect_garbage(settings):
            print_note(f"[green]deleted[/] {done}")
    elif any(each.count for each in found):
        print_note("[dim]Nothing was deleted. --yes deletes it.[/]")
