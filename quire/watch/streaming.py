"""`quire generate --stream`: texts as they are written, several side by side."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text as Styled

from quire.client import Client
from quire.client.event_stream import Told, listen
from quire.client.replies import Job
from quire.terminal.console import out

#: A narrower column holds no line of a text.
LEAST_COLUMNS = 24
#: Lines around the columns: headings, and room for what stood on the screen.
FRAME_LINES = 4
#: The kinds of events that have something of a text.
TEXTUAL = ("piece", "text")


def stream(client: Client, job: Job, *, as_json: bool = False) -> Job:
    """Show a generation as it goes.

    One text is written to standard output as it comes. Of several, a person sees all grow side by
    side; elsewhere nothing is shown here, since pieces of several texts can't be told apart.

    Args:
        client: The server.
        job: The generation.
        as_json: Print each event on a line of its own instead.

    Returns:
        The ended job, with its texts.

    Raises:
        ServerUnreachable: As `listen`.
        ApiError: As `listen`.
    """
    texts = _temperatures(job)
    if as_json:
        for told in listen(client, job):
            said = {"event": told.kind, "id": told.id, "data": told.data}
            typer.echo(json.dumps(said, ensure_ascii=False))
    elif len(texts) == 1:
        _write(listen(client, job))
    elif out.is_terminal:
        with _side_by_side(texts) as grow:
            for told in listen(client, job):
                grow(told)
    else:
        for _told in listen(client, job):
            pass
    return client.job(job.id)


def _write(events: Iterator[Told]) -> None:
    """Write one text as it comes; what its pieces lack comes with the whole of it."""
    shown: str | None = None
    for told in events:
        if told.kind not in TEXTUAL:
            continue
        if shown is None and told.data.get("prompt") is not None:
            shown = _begin(told.data["prompt"])
        if shown is None:
            continue
        if told.kind == "text" and not _written(told).startswith(shown):
            # On a device of another kind another attempt may differ: this one is kept.
            typer.echo()
            shown = _begin(told.data["prompt"])
        new = _beyond(told, len(shown))
        typer.echo(new, nl=False)
        shown += new
        if told.kind == "text":
            break
    if shown is not None:
        typer.echo()
    for _told in events:
        pass


def _begin(prompt: str) -> str:
    """Write the prompt; what is shown of the text then."""
    # The prompt is dimmed for eyes, so that it is plain where the model begins.
    typer.echo(typer.style(prompt, dim=True) if out.is_terminal else prompt, nl=False)
    return ""


def _beyond(told: Told, shown: int) -> str:
    """What an event has of its text beyond so many characters.

    Nothing where a piece before it was lost, which the finished text makes up for.
    """
    offset = told.data.get("offset", 0)
    return _written(told)[shown - offset :] if offset <= shown else ""


def _written(told: Told) -> str:
    """An event's text, without the prompt that stands before it with `echo`."""
    text: str = told.data["text"]
    return text.removeprefix(told.data["prompt"]) if told.data.get("echo") else text


@contextmanager
def _side_by_side(headings: Sequence[str]) -> Iterator[Any]:
    texts = [""] * len(headings)
    with Live(console=out, transient=True, refresh_per_second=12) as live:

        def grow(told: Told) -> None:
            if told.kind in TEXTUAL:
                index = told.data["index"]
                texts[index] += _beyond(told, len(texts[index]))
                live.update(_columns(headings, texts, out.width, out.height))

        yield grow


def _columns(
    headings: Sequence[str], texts: Sequence[str], width: int, height: int
) -> RenderableType:
    """The ends of the texts, as many beside each other as fit, in rows."""
    beside = max(1, min(len(texts), width // LEAST_COLUMNS))
    rows = -(-len(texts) // beside)
    lines = max(1, (height - FRAME_LINES) // rows - 2)
    tables = []
    for first in range(0, len(texts), beside):
        table = Table(expand=True, box=None, padding=(0, 1))
        cells = []
        for heading, text in zip(
            headings[first : first + beside], texts[first : first + beside], strict=True
        ):
            table.add_column(heading, header_style="cyan", ratio=1, overflow="fold")
            cells.append(_end(text, width // beside - 2, lines))
        table.add_row(*cells)
        tables.append(table)
    return Group(*tables)


def _end(text: str, columns: int, lines: int) -> Styled:
    wrapped = Styled(text).wrap(out, max(1, columns))
    return Styled("\n").join(wrapped[-lines:])


def _temperatures(job: Job) -> list[str]:
    """The heading of each text, in their order."""
    spec = job.spec
    return [
        f"temperature {_words(temperature)}"
        for temperature in spec.get("temperatures", [])
        for _ in range(spec.get("n", 1))
    ]


def _words(temperature: float | dict[str, float]) -> str:
    if isinstance(temperature, dict):
        return f"{temperature['from']:g}..{temperature['to']:g}"
    return f"{temperature:g}"
