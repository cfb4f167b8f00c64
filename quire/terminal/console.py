"""Consoles and print functions: results go to stdout, messages for people to stderr."""

import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text

from quire.client import ProgressCallback
from quire.client.replies import Reply
from quire.terminal.streams import OutputClosed, write
from quire.terminal.ways import listed
from shared.hidden_characters import escaped_in_json, visible

#: Wide enough that nothing is cut or wrapped when the output is piped into another program.
PIPE_COLUMNS = 100_000
#: What `escape` writes for «[» and for the backslash. Unicode says that no text has them.
_ESCAPES = {ord("["): "\ufdd0", ord("\\"): "\ufdd1"}
_UNESCAPES = {ord("\ufdd0"): "[", ord("\ufdd1"): "\\"}


def escape(text: str) -> str:
    """Mark a text for a console as no markup, whatever it contains or precedes.

    Rich's own `escape` doubles a backslash at the end that no tag follows.
    """
    return text.translate(_ESCAPES)


class SafeConsole(Console):
    """A console that shows what people and models wrote as text, never as an instruction.

    Codes between colons are no emoji. On a terminal, control characters are shown as marks; files
    and pipes get them as they are.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Render markup. Marks replace controls before the layout measures the text."""
        rendered = super().render_str(visible(text) if self.is_terminal else text, **options)
        rendered.plain = rendered.plain.translate(_UNESCAPES)
        return rendered

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render anything else, such as `Text`, for which the same holds."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
                continue
            text = segment.text.translate(_UNESCAPES)
            yield Segment(visible(text) if self.is_terminal else text, segment.style)

    def on_broken_pipe(self) -> NoReturn:
        """End the command."""
        raise OutputClosed


out = SafeConsole(width=None if sys.stdout.isatty() else PIPE_COLUMNS)
err = SafeConsole(stderr=True, width=None if sys.stderr.isatty() else PIPE_COLUMNS)

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
    err.print(message, soft_wrap=True)


def write_text(text: str, *, dim: bool = False, end: str = "\n") -> None:
    """Write a text of a model or a corpus to stdout: nothing is wrapped, and tabs are kept."""
    if not out.is_terminal:
        write(text, end=end)
        return
    # Rich would break lines at spaces and expand tabs. The terminal does both itself.
    style = Style(dim=True) if dim else None
    out.print(Segments([Segment(text + end, style)]), soft_wrap=True)


def print_error(
    message: str, hint: str | None = None, *, code: str | None = None, ways: Sequence[str] = ()
) -> None:
    """Print the error of a failed command in one line, and below it what else helps.

    Args:
        message: What is wrong.
        hint: What helps.
        code: Why a text was refused.
        ways: What can be done about it; several get a line each.
    """
    name = "" if code is None else f" [dim]({escape(code)})[/]"
    err.print(f"[bold red]error:[/] {escape(message)}{name}", soft_wrap=True)
    for way in listed(ways):
        err.print(f"[dim]way out:[/] {escape(way)}", soft_wrap=True)
    if hint:
        err.print(f"[dim]{escape(hint)}[/]", soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON; replies appear as the server sent them."""
    write(escaped_in_json(json.dumps(_as_json(value), indent=2, ensure_ascii=False)))


def print_json_line(value: Any) -> None:
    """Print a value as one line of JSON."""
    write(escaped_in_json(json.dumps(value, ensure_ascii=False)))


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
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(compact=True),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as progress:
        task = progress.add_task(description, total=None)

        def on_progress(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield on_progress


def _as_json(value: Any) -> Any:
    if isinstance(value, Reply):
        return value.as_json()
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return value
