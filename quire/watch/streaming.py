"""`quire generate --stream`: show texts while they are generated, several side by side."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text as Styled

from quire.client import Client
from quire.client.events import StreamEvent
from quire.client.replies import Job
from quire.client.sync.event_stream import stream_events
from quire.terminal.console import escape, out, print_json_line, print_note, write_text
from shared.hidden_characters import visible

MIN_COLUMN_WIDTH = 24
#: Lines that are not available to the columns: headings, and what the terminal showed before.
FRAME_LINES = 4
#: The types of events that carry a part of a text.
TEXT_EVENTS = ("piece", "text")


def stream(client: Client, job: Job, *, as_json: bool = False) -> Job:
    """Show the texts of a generation while they are generated.

    A single text is written to standard output piece by piece. Several texts grow side by side
    on a terminal; elsewhere nothing is shown, because their pieces could not be told apart.

    Args:
        client: The server.
        job: The generation.
        as_json: Print each event as one line of JSON instead.

    Returns:
        The ended job, with its texts.

    Raises:
        ServerUnreachable: As `stream_events`.
        EventStreamError: As `stream_events`.
        ApiError: As `stream_events`.
    """
    headings = _headings(job)
    events = stream_events(client, job, lambda message: print_note(f"[dim]{escape(message)}[/]"))
    if as_json:
        for event in events:
            print_json_line({"event": event.type, "id": event.id, "data": event.data})
    elif len(headings) == 1:
        _write(events)
    elif out.is_terminal:
        with _side_by_side(headings) as show:
            for event in events:
                show(event)
    else:
        for _event in events:
            pass
    return client.job(job.id)


def _write(events: Iterator[StreamEvent]) -> None:
    """Write one text as it comes; the final event supplies what the pieces lack."""
    written: str | None = None
    for event in events:
        if event.type not in TEXT_EVENTS:
            continue
        if written is None and event.data.get("prompt") is not None:
            written = _write_prompt(event.data["prompt"])
        if written is None:
            continue
        if event.type == "text" and not _generated(event).startswith(written):
            # Another attempt, on a device of another kind, may give another text: that one counts.
            write_text("")
            written = _write_prompt(event.data["prompt"])
        new = _continuation(event, len(written))
        write_text(new, end="")
        written += new
        if event.type == "text":
            break
    if written is not None:
        write_text("")
    for _event in events:
        pass


def _write_prompt(prompt: str) -> str:
    """Write the prompt, and return the text written so far: none."""
    # The prompt is dimmed on a terminal, to show where the generated text begins.
    write_text(prompt, dim=True, end="")
    return ""


def _continuation(event: StreamEvent, written: int) -> str:
    """Return the part of an event's text after the first `written` characters of the whole text.

    The part is empty where an earlier piece was lost; the final event makes up for it.
    """
    offset = event.data.get("offset", 0)
    return _generated(event)[written - offset :] if offset <= written else ""


def _generated(event: StreamEvent) -> str:
    """Return the text of an event without the prompt that precedes it with `echo`."""
    text: str = event.data["text"]
    return text.removeprefix(event.data["prompt"]) if event.data.get("echo") else text


@contextmanager
def _side_by_side(headings: Sequence[str]) -> Iterator[Callable[[StreamEvent], None]]:
    texts = [""] * len(headings)
    with Live(console=out, transient=True, refresh_per_second=12) as live:

        def show(event: StreamEvent) -> None:
            if event.type in TEXT_EVENTS:
                index = event.data["index"]
                texts[index] += _continuation(event, len(texts[index]))
                live.update(_columns(headings, texts, out.width, out.height))

        yield show


def _columns(
    headings: Sequence[str], texts: Sequence[str], width: int, height: int
) -> RenderableType:
    """Lay out the ends of the texts in columns, in as many rows as it takes."""
    per_row = max(1, min(len(texts), width // MIN_COLUMN_WIDTH))
    rows = -(-len(texts) // per_row)
    lines = max(1, (height - FRAME_LINES) // rows - 2)
    tables = []
    for first in range(0, len(texts), per_row):
        table = Table(expand=True, box=None, padding=(0, 1))
        cells = []
        for heading, text in zip(
            headings[first : first + per_row], texts[first : first + per_row], strict=True
        ):
            table.add_column(heading, header_style="cyan", ratio=1, overflow="fold")
            cells.append(_last_lines(text, width // per_row - 2, lines))
        table.add_row(*cells)
        tables.append(table)
    return Group(*tables)


def _last_lines(text: str, columns: int, lines: int) -> Styled:
    wrapped = Styled(visible(text)).wrap(out, max(1, columns))
    return Styled("\n").join(wrapped[-lines:])


def _headings(job: Job) -> list[str]:
    """Return the heading of each text, in order."""
    spec = job.spec
    return [
        f"temperature {_format_temperature(temperature)}"
        for temperature in spec.get("temperatures", [])
        for _ in range(spec.get("n", 1))
    ]


def _format_temperature(temperature: float | dict[str, float]) -> str:
    if isinstance(temperature, dict):
        return f"{temperature['from']:g}..{temperature['to']:g}"
    return f"{temperature:g}"
