"""Where output goes: results on stdout, everything for the eyes only on stderr."""

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

from quire.client import Passed
from quire.client.replies import Reply

#: Wide enough that nothing is cut where the output is piped into another program.
PIPE_COLUMNS = 240

out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
err = Console(highlight=False, stderr=True, width=None if sys.stderr.isatty() else PIPE_COLUMNS)

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, for programs.")]

STATUS_STYLES = {
    "queued": "yellow",
    "running": "cyan",
    "paused": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "dim",
}


def is_interactive() -> bool:
    """Whether a person watches: both streams are a terminal."""
    return out.is_terminal and err.is_terminal


def typed(word: str) -> str:
    """A word as it must be typed in a shell, as markup."""
    return escape(shlex.quote(word))


def note(message: str) -> None:
    """One line for people only; it is markup."""
    err.print(message)


def print_error(message: str, hint: str | None = None) -> None:
    """The one line a failed command says, and how to go on."""
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    if hint:
        err.print(f"[dim]{escape(hint)}[/]", soft_wrap=True)


def print_json(value: Any) -> None:
    """A result for programs; replies as the server sent them."""
    typer.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def tell(reply: Reply, as_json: bool, line: str) -> None:
    """What became of something: for programs as the server sent it, for people in a line."""
    if as_json:
        print_json(reply)
    else:
        note(line)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """A calm table; `empty` says what to do when there is nothing to show.

    A column whose name ends with ``>`` is right-aligned; the first one is cut last.
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
        note(f"[dim]{empty}[/]")


def has_twins(names: Iterable[str]) -> bool:
    """Whether a name occurs twice, so that a list must show ids to tell them apart."""
    counted = Counter(names)
    return any(count > 1 for count in counted.values())


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Names and values, one a line; what has no value is left out."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        if value:
            table.add_row(name, value)
    out.print(table)


def status_text(status: str) -> str:
    """A status in its colour, as markup."""
    style = STATUS_STYLES.get(status, "default")
    return f"[{style}]{escape(status)}[/]"


@contextmanager
def passing_bytes(what: str) -> Iterator[Passed]:
    """A bar on stderr for bytes that go up or down; nothing where nobody watches."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(compact=True),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as progress:
        task = progress.add_task(escape(what), total=None)

        def passed(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield passed


def _plain(value: Any) -> Any:
    if isinstance(value, Reply):
        return value.as_json()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
