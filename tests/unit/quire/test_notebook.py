"""What a notebook and a terminal show of jobs and texts."""

import sys
from datetime import UTC, datetime
from io import StringIO
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

import quire
from quire.client import progress
from quire.client.job_html import job_html
from quire.client.replies import Job, Metric, Text

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CRUEL = "</p><script>alert('it')</script> & <b>"
COPIED = "a bright cold day in April"


def job(**fields: Any) -> Job:
    return Job.model_validate(
        {
            "id": "1",
            "kind": "train",
            "status": "running",
            "name": CRUEL,
            "created_at": NOW,
            **fields,
        }
    )


def point(step: int, loss: float | None, val_loss: float | None = None) -> Metric:
    return Metric(step=step, epoch=step / 10, loss=loss, val_loss=val_loss, at=NOW)


def text(**fields: Any) -> Text:
    return Text.model_validate(
        {"id": "1", "job": "1", "prompt": "It <was> ", "text": f"{COPIED} & cold",
         "temperature": 0.5, "seed": 7, **fields}
    )  # fmt: skip


PROGRESS = {"step": 50, "steps_total": 200, "epoch": 1, "epochs": 4, "loss": 1.5, "val_loss": 1.25}


def parsed(html: str) -> ElementTree.Element:
    """Parse what is well-formed XML too: every element is closed, every name escaped."""
    return ElementTree.fromstring(html)  # noqa: S314  # made here


def test_a_training_shows_its_progress_and_its_curves() -> None:
    points = [point(step, 4 / step, 3 / step if step % 10 == 0 else None) for step in range(1, 51)]
    tree = parsed(job_html(job(progress=PROGRESS), points))
    words = "".join(tree.itertext())
    assert CRUEL in words
    assert "25%" in words
    assert "epoch 1.0 of 4 · loss 1.500 · validation loss 1.250" in words
    lines = tree.findall(".//polyline")
    assert [len((line.get("points") or "").split()) for line in lines] == [45, 5]
    assert tree.find(".//script") is None


@pytest.mark.parametrize(
    "points", [[], [point(1, None)], [point(1, 2.0)], [point(1, 2.0), point(2, 2.0)]]
)
def test_a_curve_of_few_points_is_shown_or_left_out(points: list[Metric]) -> None:
    tree = parsed(job_html(job(), points))
    has_losses = any(each.loss is not None for each in points)
    assert (tree.find(".//svg") is not None) == has_losses


def test_a_failed_job_says_why_and_has_no_bar() -> None:
    error = {"type": "/problems/x", "title": "The loss exploded", "detail": "Lower the rate."}
    html = job_html(job(status="failed", error=error, progress=PROGRESS), [])
    assert "The loss exploded: Lower the rate." in "".join(parsed(html).itertext())
    assert parsed(html).find(".//progress") is None


@pytest.mark.parametrize("kind", [quire.Job, quire.AsyncJob, quire.Training])
def test_a_job_of_no_server_is_shown_too(kind: type[Any]) -> None:
    made = kind.model_validate(job(progress=PROGRESS).model_dump())
    assert "25%" in made._repr_html_()
    assert repr(made) == f"<{kind.__name__} {CRUEL!r} running 1>"


def test_a_queued_job_says_why_it_waits() -> None:
    queue = {"position": 2, "starts_at": None, "reason": "another job of yours runs"}
    html = job_html(job(status="queued", queue=queue), [])
    assert "another job of yours runs" in html


def test_a_text_shows_its_copies_underlined() -> None:
    novelty = {"copied_characters": len(COPIED), "copied": COPIED, "known_grams": 0.5}
    html = text(novelty=novelty)._repr_html_()
    tree = parsed(html)
    [copy] = tree.findall(".//u")
    assert copy.text == COPIED
    assert copy.get("title") == f"{len(COPIED)} characters that stand so in the corpus"
    words = "".join(tree.itertext())
    assert words.startswith(f"It <was> {COPIED} & cold")
    assert "temperature 0.5 · seed 7" in words


@pytest.mark.parametrize("echo", [False, True])
def test_all_copies_are_underlined_where_they_are_told(echo: bool) -> None:
    before = len("It <was> ") if echo else 0
    spans = [
        {"start": before + at, "length": length, "from": 7} for at, length in ((2, 10), (13, 13))
    ]
    whole = f"{'It <was> ' if echo else ''}{COPIED}"
    tree = parsed(text(text=whole, echo=echo, copied_spans=spans)._repr_html_())
    assert [copy.text for copy in tree.findall(".//u")] == [COPIED[2:12], COPIED[13:26]]
    assert "".join(tree.itertext()).startswith(f"It <was> {COPIED}")


@pytest.mark.parametrize("copied", ["", "a", "cold, but elsewhere in the text"])
def test_a_copy_that_is_short_or_not_there_is_not_underlined(copied: str) -> None:
    novelty = {"copied_characters": len(copied), "copied": copied}
    assert "<u" not in text(novelty=novelty)._repr_html_()


def test_an_echoed_prompt_is_shown_once() -> None:
    shown = text(echo=True, text=f"It <was> {COPIED}")
    assert shown.continuation == COPIED
    assert str(shown) == f"It <was> {COPIED}"
    assert "".join(parsed(shown._repr_html_()).itertext()).count("It <was>") == 1


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make standard error a terminal, from within a test: pytest replaces it before one."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return stream


def test_a_terminal_has_the_bar_of_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    with progress.progress_bar(None) as bar:
        bar.show(job(name="poet\x1b[31m", progress=PROGRESS), [])
        bar.notify("the server is unreachable")
    assert isinstance(bar, progress.RichBar)
    assert "the server is unreachable" in terminal.getvalue()
    assert "training poet�" in terminal.getvalue()
    assert "\x1b[31m" not in terminal.getvalue().partition("poet")[2][:10]
    assert "loss 1.500" in terminal.getvalue()


def test_a_file_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := StringIO())
    for wanted in (None, False):
        with progress.progress_bar(wanted) as bar:
            bar.show(job(progress=PROGRESS), [])
            bar.notify("the server is unreachable")
    assert stream.getvalue() == ""


def test_neither_rich_nor_tqdm_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    for name in ("rich.console", "rich.progress", "tqdm"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with progress.progress_bar(None) as bar:
        bar.show(job(progress=PROGRESS), [])
    assert terminal.getvalue() == ""


def test_a_notebook_replaces_one_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython is not installed with Quire: this is what of it a kernel offers."""
    shown: list[str] = []
    handle = SimpleNamespace(update=lambda html: shown.append(html))

    def display(html: str, *, display_id: bool) -> Any:
        assert display_id
        shown.append(html)
        return handle

    ipython, module = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.__dict__.update(get_ipython=lambda: SimpleNamespace(kernel=True))
    module.__dict__.update(display=display, HTML=str)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    with progress.progress_bar(None) as bar:
        assert bar.draws_curves
        bar.show(job(progress=PROGRESS), [point(1, 3.0), point(2, 2.0)])
        bar.show(job(status="succeeded"), [])
    with progress.transfer_bar("<b>", None) as on_progress:
        on_progress(500_000, 1_000_000)
    assert ["polyline" in html for html in shown] == [True, False, False]
    assert "&lt;b&gt;" in shown[2]
    ipython.__dict__.update(get_ipython=lambda: SimpleNamespace())
    assert not progress.in_notebook(), "IPython on a terminal shows no HTML"
