"""`quire report`: the page is complete, correct, and safe with any text."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from quire.main import run
from quire.report import elements
from tests.api.harness import record
from tests.quire.conftest import CRUEL, Served

#: Elements without an end tag.
VOID = {"meta", "input"}
#: Attributes that make a browser send a request.
LOADING = {"src", "href", "srcset", "action", "poster", "data", "xlink:href", "background"}


class Page(HTMLParser):
    """A page as a browser parses it. An element that is not closed in order fails the test."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def html(served: Served, tmp_path: Path) -> str:
    """The report of a training of three epochs that was resumed once."""
    claim = served.train()
    for number in (1, 2, 3):
        served.epoch(claim, number)
    served.world.queue.record_event(claim, "resumed", step=300, epoch=3.0)
    served.world.queue.succeed(claim)
    assert run(["report", "poet", "-o", str(tmp_path / "report.html")]) == 0
    return (tmp_path / "report.html").read_text()


def test_the_page_answers_a_readers_questions(html: str) -> None:
    page = Page(html)
    for expected in (
        "poet",
        "one LSTM layer of 128 units",
        "classic",
        "orwell, 4,440 characters",
        "2.164 bits per character, epoch 2",
        "3 of 4300 steps",
        "9,000",
        "Temperature 0.2",
        "Temperature 0.5",
        "the preset has 20",
        "resumed from the checkpoint at step 300, epoch 3.0",
        "host/cpu/train",
    ):
        assert expected in page.text, expected
    assert re.search(r'<tr class="best"><th scope="row"><strong>best</strong></th>.*>200<', html)
    assert len(re.findall(r"<code>[0-9a-f]{64}</code>", html)) == 4, "digests, and the corpus"


def test_texts_are_ordered_by_epoch_within_each_temperature(html: str) -> None:
    for temperature, part in zip(
        ("0.2", "0.5"), html.split('<section class="temperature"')[1:], strict=True
    ):
        assert f'aria-label="Temperature {temperature}"' in part
        assert re.findall(r"<h4>(Epoch \d)", part) == ["Epoch 1", "Epoch 2", "Epoch 3"]
        assert re.findall(r"epoch (\d) at ([\d.]+)", part) == [(e, temperature) for e in "123"]
    assert re.findall(r'id="temperature-(\d)" checked', html) == ["1"], "0.5 is shown first"
    for number in (0, 1):
        assert f".writing:not(:has(#temperature-{number}:checked)) #texts-{number}" in html


@pytest.mark.parametrize(("tokenizer", "token"), [("char", "character"), ("word", "token")])
def test_losses_name_their_unit(served: Served, tmp_path: Path, tokenizer: str, token: str) -> None:
    claim = served.train(tokenizer=tokenizer, window=8)
    served.epoch(claim, 1)
    target = tmp_path / "report.html"
    assert run(["report", "poet", "-o", str(target)]) == 0
    text = Page(target.read_text()).text
    assert re.findall(r"nats per (\w+)", text) == [token, token], "at the axis and in the footer"


def test_markup_in_names_and_texts_is_shown_as_text(served: Served, tmp_path: Path) -> None:
    corpus = served.ann.upload(name="<script>alert(1)</script>")
    job = served.ann.train(corpus, preset="classic", epochs=4, name='"><img src=x onerror=a>')
    claim = served.world.claim(job["id"])
    served.epoch(claim, 1)
    served.world.queue.record_event(claim, "resumed", step=100, epoch="<iframe>")
    error = {"type": "/problems/x", "title": "It <b>broke</b>", "detail": "lower the rate"}
    served.world.queue.fail(claim, error)
    target = tmp_path / "report.html"
    assert run(["report", job["id"], "-o", str(target)]) == 0
    page = Page(target.read_text())
    assert not {"script", "img", "iframe", "b"} & set(page.tags)
    for expected in (
        CRUEL,
        "<script>alert(1)</script>",
        '"><img src=x onerror=a>',
        "It <b>broke</b>",
    ):
        assert expected in page.text, expected


def test_the_page_sends_no_request(html: str) -> None:
    page = Page(html)
    assert not [attribute for attribute in page.attributes if attribute[1] in LOADING]
    assert not {"script", "link", "iframe", "object", "embed", "img", "base"} & set(page.tags)
    assert "http://" not in html
    assert "https://" not in html
    assert not re.search(r"@import|@font-face", html)
    assert set(re.findall(r"url\((.)", html)) == {"#"}
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    assert ("meta", "content", policy) in page.attributes


def test_charts_have_descriptions_and_a_table_of_numbers(html: str) -> None:
    page = Page(html)
    assert page.tags.count("svg") == 3
    roles = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "role")]
    assert roles == ["img"] * 3
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    labels = [value for _, name, value in page.attributes if name == "aria-labelledby"]
    assert all(name in ids for label in labels for name in label.split())
    assert "The best validation loss is 1.500, at epoch 2." in page.text
    table = html.split("The numbers behind the curves")[1].split("</table>")[0]
    assert re.findall(r'<tr.*?><th scope="row" class="right">(\d)</th>', table) == ["1", "2", "3"]
    curve = re.search(r'<polyline class="train"[^>]*points="([^"]*)"', html)
    validations = re.search(r'<polyline class="validation"[^>]*points="([^"]*)"', html)
    assert curve is not None
    assert validations is not None
    assert (len(curve[1].split()), len(validations[1].split())) == (6, 3)
    assert html.count("<circle") == 3


def test_an_odd_piece_of_the_text_is_seen(served: Served, tmp_path: Path) -> None:
    claim = served.train(holdout="spread")
    pieces = [[100, 200], [1100, 1200], [2100, 2200], [4000, 4100]]
    served.world.queue.record_event(claim, "held_out", tokens=4440, pieces=pieces)
    served.point(claim, 100, 2.0, 1.6, [1.2, 1.3, 1.25, 2.9])
    served.point(claim, 200, 1.9, 1.5, [1.25, 1.2, 1.3, None])
    target = tmp_path / "report.html"
    assert run(["report", "poet", "-o", str(target), "--force"]) == 0
    html = target.read_text()
    assert "unlike the others" not in Page(html).text
    served.point(claim, 300, 1.8, 1.4, [1.1, 1.2, 1.15, 2.1])
    assert run(["report", "poet", "-o", str(target), "--force"]) == 0
    page = Page(html := target.read_text())
    table = html.split("The held-out pieces of the text")[1].split("</table>")[0]
    assert "one of them is unlike the others" in table
    rows = re.findall(r"<tr.*?</tr>", table)[1:]
    assert ['class="best"' in row for row in rows] == [False, False, False, True]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t", row) for row in rows]
    assert cells[3] == ["4", "90%", "4,000 – 4,099", "2.100", "2.100", "3"]
    assert cells[0] == ["1", "2%", "100 – 199", "1.100", "1.100", "3"]
    assert "400 tokens held out in 4 pieces, spread over the text" in page.text


def test_a_tail_has_no_table_of_pieces(served: Served, tmp_path: Path) -> None:
    claim = served.train()
    served.world.queue.record_event(claim, "held_out", tokens=4440, pieces=[[4218, 4440]])
    served.point(claim, 100, 2.0, 1.6, [1.6])
    target = tmp_path / "report.html"
    assert run(["report", "poet", "-o", str(target)]) == 0
    text = Page(target.read_text()).text
    assert "The held-out pieces" not in text
    assert "the last 222 tokens held out" in text


def test_the_same_job_gives_the_same_page(html: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["report", "poet", "-o", "-"]) == 0
    assert capsys.readouterr().out == html


def test_a_file_is_overwritten_only_with_force(
    html: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "report.html"
    target.write_text("mine")
    assert run(["report", "poet", "-o", str(target)]) == 2
    assert "--force overwrites it" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert run(["report", "poet", "-o", str(target), "--force"]) == 0
    assert target.read_text() == html
    assert [path.name for path in tmp_path.glob("*report*")] == ["report.html"]
    assert run(["report", "poet", "-o", str(tmp_path)]) == 2
    assert "is a directory" in capsys.readouterr().err
    assert run(["report", "poet", "-o", str(tmp_path / "no" / "report.html")]) == 2
    assert "there is no directory" in capsys.readouterr().err


def test_a_job_without_a_report_says_why(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "report.html")
    model = served.world.model(served.ann, name="quiet")
    job = served.ann.post("/v1/generate", {"model": model["id"]}).json
    assert run(["report", job["id"], "-o", target]) == 2
    assert "is not a training (its kind is generate)" in capsys.readouterr().err
    assert run(["report", model["job"], "-o", target]) == 2
    assert "has no loss curve yet (it is succeeded)" in capsys.readouterr().err
    assert run(["report", "nobody", "-o", target]) == 3
    assert not Path(target).exists()


def test_a_running_training_without_texts_or_model(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = served.ann.train(served.ann.upload(), name="plain", epochs=4)
    claim = served.world.claim(job["id"])
    served.point(claim, 50, 2.0)
    target = tmp_path / "report.html"
    assert run(["report", "plain", "-o", str(target)]) == 0
    text = Page(target.read_text()).text
    assert "The training is running. This page shows it up to step 50." in text
    assert "This training wrote no sample texts. quire train --sample" in text
    served.world.queue.cancel_claimed(claim)
    assert served.ann.delete(f"/v1/models/{job['model']}").status_code == 204
    assert served.ann.delete(f"/v1/corpora/{job['corpus']}").status_code == 204
    assert run(["report", job["id"], "-o", str(target), "--force"]) == 0
    text = Page(target.read_text()).text
    assert "The training was cancelled." in text
    assert "deleted, or not visible to you" in text


def test_numbers_are_rounded(served: Served, tmp_path: Path) -> None:
    claim = served.train(learning_rate=0.0123456789)
    served.point(claim, 49, 2.123456789, val_loss=1.987654321)
    served.point(claim, 51, 2.123456789, val_loss=1.998877665)
    checkpoint = served.world.checkpoint(claim, 49, 1.987654321)
    epoch = 0.491935483
    sample = record(0, "a text", checkpoint, 0.5, requested=False, step=49, epoch=epoch)
    served.world.queue.record_texts(claim, [sample])
    target = tmp_path / "report.html"
    assert run(["report", "poet", "-o", str(target)]) == 0
    html = target.read_text()
    page = Page(html)
    for expected in ("The best validation loss is 1.988, at epoch 0.49.", "0.01235", "Epoch 0.49"):
        assert expected in page.text, expected
    body = html.partition("</style>")[2]
    assert re.findall(r">([^<]*\d\.\d{4,}[^<]*)<", body) == ["0.01235"], "four digits count"


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0.491935, "0.49"), (12.0, "12"), (4.5, "4.5"), (1234.567, "1,234.57"), (None, "")],
)
def test_epochs_have_at_most_two_decimals(number: float | None, shown: str) -> None:
    assert elements.epoch(number) == shown


def test_values_of_a_request_are_rounded() -> None:
    values = [0.0123456789, 300.0, 12_345.678, 128, 20_260_102, True, None, [0.2, 1.0000001]]
    assert [elements.plain(value) for value in values] == [
        *("0.01235", "300", "12,346", "128", "20260102", "yes", "none", "0.2, 1")
    ]
