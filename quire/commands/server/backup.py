"""`quire backup` and `quire restore`: all data of a server in one file, and back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from quire.commands.server.options import DataDir
from quire.commands.server.up import options_over_environment
from quire.errors import CannotStart, ExitCode
from quire.server.data_dir import locked_data_dir
from quire.server.parts import require_server
from quire.terminal.console import Json, escape, print_json, print_note, transfer_progress
from quire.terminal.formatting import count, size
from shared.settings import Settings

if TYPE_CHECKING:
    from quire.server.backup.archive import Manifest

MAKE = "make"
File = Annotated[Path, typer.Argument(help="The file of the backup.", show_default=False)]


class _MakesByDefault(TyperGroup):
    """Takes `quire backup FILE` for `quire backup make FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front, where none is named."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [MAKE, *args]
        return super().parse_args(ctx, args)


backup = typer.Typer(
    cls=_MakesByDefault,
    no_args_is_help=True,
    help="Back up the database into one file, while the server runs: `quire backup FILE`.",
)


@backup.command(MAKE)
def make(file: File, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Back up the database of DATABASE_URL, or of the data directory, while it is used.

    The file holds users, hashes of keys, texts and models, and is readable by its owner alone.
    Browsers' sessions are not in it.
    """
    require_server("backup")
    settings = settings_of(data_dir)
    require_database(settings)
    from quire.server.backup.making import make_backup

    with _progress("backing up") as progress:
        made = make_backup(settings.database, file.absolute(), progress)
    if as_json:
        print_json({**_summary(made.manifest), "file": str(file), "size_bytes": made.size_bytes})
    else:
        print_note(
            f"[green]backed up[/] {_contents(made.manifest)} into {escape(str(file))} "
            f"({size(made.size_bytes)}), as of {made.manifest.made_at:%Y-%m-%d %H:%M:%S} UTC"
        )
    _report_damage(made.manifest)


@backup.command("verify")
def verify(file: File, as_json: Json = False) -> None:
    """Read all of a backup, and compare every row and byte with the hashes in it."""
    require_server("backup")
    from quire.server.backup.verifying import verify_backup

    with _progress("verifying") as progress:
        manifest = verify_backup(file.absolute(), progress)
    if as_json:
        print_json({**_summary(manifest), "file": str(file)})
    else:
        print_note(
            f"[green]whole[/]     {_contents(manifest)}, made at "
            f"{manifest.made_at:%Y-%m-%d %H:%M:%S} UTC by Quire {escape(manifest.quire)} "
            f"on {manifest.database}, schema {escape(manifest.schema_revision)}"
        )
    _report_damage(manifest)


def restore(file: File, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Restore a backup into a new data directory, or into the empty database of DATABASE_URL.

    Nothing else may use the database. A backup of SQLite can be restored into PostgreSQL, and the
    other way round. Jobs that ran wait in the queue, and go on once the server starts.
    """
    require_server("restore")
    settings = settings_of(data_dir)
    from quire.server.backup.restoring import restore_backup

    with _progress("restoring") as progress:
        if settings.database_url is None:
            with locked_data_dir(settings.data_dir):
                restored = restore_backup(file.absolute(), settings, progress)
        else:
            restored = restore_backup(file.absolute(), settings, progress)
    manifest = restored.manifest
    if as_json:
        more = {"schema_revision": restored.revision, "requeued_jobs": restored.requeued}
        print_json({**_summary(manifest), **more})
        return
    migrated = (
        f", migrated from schema {escape(manifest.schema_revision)} to {restored.revision}"
        if restored.revision != manifest.schema_revision
        else ""
    )
    print_note(f"[green]restored[/]  {_contents(manifest)}{migrated}")
    if restored.requeued:
        print_note(f"{restored.requeued} running jobs are in the queue again.")
    if settings.database_url is None:
        print_note(f"[dim]Next: quire up --data-dir {escape(str(settings.data_dir))}[/]")
    else:
        print_note("[dim]Next: start the API and the workers with this DATABASE_URL[/]")


def settings_of(data_dir: Path | None, **options: Any) -> Settings:
    """Load the settings. A data directory that is given names its database, whatever else is set.

    Raises:
        SettingsError: A value is not allowed.
    """
    settings = options_over_environment(data_dir=data_dir, **options)
    if data_dir is None:
        return settings
    return settings.model_copy(update={"database_url": None, "database_password_file": None})


def require_database(settings: Settings) -> None:
    """Check that an SQLite file is there, which a connection would make.

    Raises:
        CannotStart: It is not.
    """
    path = settings.database.removeprefix("sqlite:///")
    if path != settings.database and not Path(path.partition("?")[0]).is_file():
        raise CannotStart(
            f"there is no database at {path}: give --data-dir, or set DATABASE_URL as the server "
            "has it"
        )


def _summary(manifest: "Manifest") -> dict[str, Any]:
    return {
        "made_at": manifest.made_at.isoformat(),
        "quire": manifest.quire,
        "schema_revision": manifest.schema_revision,
        "database": manifest.database,
        "rows": {table.name: table.rows for table in manifest.tables},
        "blobs": manifest.blobs.count,
        "blob_bytes": manifest.blobs.bytes,
        "damaged_blobs": manifest.blobs.damaged,
    }


def _contents(manifest: "Manifest") -> str:
    rows = {table.name: table.rows for table in manifest.tables}
    named = ("users", "corpora", "models", "jobs", "texts")
    listed = ", ".join(f"{count(rows.get(name, 0))} {name}" for name in named)
    return f"{listed} and {size(manifest.blobs.bytes)} of corpora and checkpoints"


def _report_damage(manifest: "Manifest") -> None:
    if damaged := manifest.blobs.damaged:
        print_note(
            f"[yellow]{len(damaged)} blobs were damaged already in the database, and are in the "
            f"backup as they were:[/] {', '.join(damaged)}. Look at the disk; an earlier backup "
            "may have them whole."
        )
        raise typer.Exit(ExitCode.JOB_FAILED)


@contextmanager
def _progress(description: str) -> Iterator[Callable[[int, int], None]]:
    with transfer_progress(description) as on_progress:
        yield on_progress
