"""The output of streamed texts, whichever events were lost or repeated."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from quire.client.events import StreamEvent
from quire.watch.streaming import _columns, _side_by_side, _write
from tests.quire.conftest import lines_of

TEXT = "and the sea was calm, and the moon was full"


def piece(offset: int, text: str, **fields: Any) -> StreamEvent:
    return StreamEvent("piece", {"index": 0, "offset": offset, "text": text, **fields}, "1-1")


FIRST = piece(0, TEXT[:10], prompt="It ")
AFTER_A_BREAK = {
    "nothing was lost": [FIRST, piece(10, TEXT[10:20])],
    "everything is repeated": [FIRST, piece(10, TEXT[10:20]), FIRST, piece(10, TEXT[10:30])],
    "from the middle of a piece": [FIRST, piece(5, TEXT[5:30])],
    "a piece was lost": [FIRST, piece(20, TEXT[20:30]), piece(30, TEXT[30:])],
    "a piece was lost and repeated": [FIRST, piece(20, TEXT[20:30]), piece(10, TEXT[10:30])],
    "the first one was lost": [piece(10, TEXT[10:20]), piece(20, TEXT[20:])],
    "the prompt was lost": [piece(0, TEXT[:10]), piece(10, TEXT[10:20])],
    "everything was lost": [],
}


@pytest.mark.parametrize("pieces", AFTER_A_BREAK.values(), ids=AFTER_A_BREAK)
@pytest.mark.parametrize("echo", [False, True])
def test_a_text_is_written_once_whatever_a_break_did_to_its_pieces(
    pieces: list[StreamEvent], echo: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {"index": 0, "prompt": "It ", "text": ("It " if echo else "") + TEXT, "echo": echo}
    _write(iter([*pieces, StreamEvent("text", whole, "1-end1"), StreamEvent("state", {}, "1-end")]))
    assert capsys.readouterr().out == f"It {TEXT}\n"


def test_a_text_that_differs_from_its_pieces_is_written_in_full(
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = {"index": 0, "prompt": "It ", "text": "or not", "echo": False}
    _write(iter([FIRST, StreamEvent("text", whole, "1-end1")]))
    assert capsys.readouterr().out == f"It {TEXT[:10]}\nIt or not\n"


def test_an_unfinished_text_ends_with_a_newline(capsys: pytest.CaptureFixture[str]) -> None:
    _write(iter([FIRST, StreamEvent("state", {"status": "failed"}, "1-end")]))
    assert capsys.readouterr().out == f"It {TEXT[:10]}\n"


@pytest.mark.parametrize("pieces", AFTER_A_BREAK.values(), ids=AFTER_A_BREAK)
def test_a_column_grows_once_whatever_a_break_did_to_its_pieces(
    pieces: list[StreamEvent], screen: StringIO
) -> None:
    whole = {"index": 0, "prompt": "It ", "text": TEXT, "echo": False}
    with _side_by_side(["one", "two"]) as show:
        for event in [*pieces, StreamEvent("text", whole, "1-end1")]:
            show(event)
    cells = {line.split("  ")[0].strip() for line in lines_of(screen)}
    assert TEXT in cells
    assert all(TEXT.startswith(cell) for cell in cells - {"one"})


def test_columns_show_the_ends_of_the_texts() -> None:
    texts = ["one " * 200 + "end of one", "two", "", "four"]
    console = Console(width=100, height=20, record=True, file=StringIO())
    console.print(_columns(["T 0.2", "T 0.5", "T 1", "T 1.2"], texts, 100, 20))
    lines = console.export_text().splitlines()
    assert len(lines) <= 20
    assert all(heading in lines[0] for heading in ("T 0.2", "T 0.5", "T 1", "T 1.2"))
    assert any("of one" in line for line in lines)
    assert "two" in lines[1]
