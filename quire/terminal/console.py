"""Consoles and print functions: results go to stdout, messages for people to stderr."""

import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from quire.client import ProgressCallback
from quire.client.replies import Reply

#: Wide enough that nothing is truncated when the output is piped into another program.
PIPE_COLUMNS = 240

out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
err = Console(highlight=False, stderr=True, width=None if sys.stderr.isatty() else PIPE_COLUMNS)

Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]

STATUS_STYLES = {
    "queued": "yellow",
    "running": "cyan",
    "paused": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "dim",
}


def is_interactive() -> bool:
    """Whether both output streams are a terminal."""
    return out.is_terminal and err.is_terminal


def shell_quoted(word: str) -> str:
    """Quote a word for the shell, and escape it as markup."""
    return escape(shlex.quote(word))


def print_note(message: str) -> None:
    """Print one line of markup to stderr."""
    err.print(message)


def print_error(message: str, hint: str | None = None) -> None:
    """Print the error of a failed command in one line, and a hint below it."""
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    if hint:
        err.print(f"[dim]{escape(hint)}[/]", soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON; replies appear as the server sent them."""
    typer.echo(json.dumps(_as_json(value), indent=2, ensure_ascii=False))


def print_outcome(reply: Reply, as_json: bool, line: str) -> None:
    """Print the outcome of a command: the reply as JSON, or else one line of markup."""
    if as_json:
        print_json(reply)
    else:
        print_note(line)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """Print a table, or the message `empty` if there are no rows.

    A column whose name ends with ``>`` is right-aligned; the first one is never truncated.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(
            column.removesuffix(">"),
            justify="right" if column.endswith(">") else "left",
            no_wrap=True,
            overflow="fold" if number == 0 else "ellipsis",
        )
    for row in rows:
        table.add_row(*row)
    if table.row_count:
        out.print(table)
    else:
        print_note(f"[dim]{empty}[/]")


def has_duplicates(names: Iterable[str]) -> bool:
    """Whether a name occurs more than once, so that a list needs ids to tell them apart."""
    return any(count > 1 for count in Counter(names).values())


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one per line; empty values are left out."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        if value:
            table.add_row(name, value)
    out.print(table)


def status_text(status: str) -> str:
    """Return a status in its colour, as markup."""
    style = STATUS_STYLES.get(status, "default")
    return f"[{style}]{escape(status)}[/]"


@contextmanager
def transfer_progress(description: str) -> Iterator[ProgressCallback]:
    """Show a progress bar for an upload or download; only if stderr is a terminal."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(compact=True),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as progress:
        task = progress.add_task(escape(description), total=None)

        def on_progress(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield on_progress


def _as_json(value: Any) -> Any:
    if isinstance(value, Reply):
        return value.as_json()
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return value
