"""`quire report`: one page, complete in itself, true, and safe with any text."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from quire.main import run
from tests.quire.conftest import CRUEL, Served

#: Elements that have no end.
VOID = {"meta", "input"}
#: What makes a browser ask for something.
LOADING = {"src", "href", "srcset", "action", "poster", "data", "xlink:href", "background"}


class Page(HTMLParser):
    """A page as a browser reads it; elements that are not closed in order fail."""

    def __init__(self, written: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(written)
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
        self.words += data


@pytest.fixture
def written(served: Served, tmp_path: Path) -> str:
    """The report of a training of three epochs that went back once."""
    claim = served.train()
    for number in (1, 2, 3):
        served.epoch(claim, number)
    served.world.queue.record_event(claim, "resumed", step=300, epoch=3.0)
    served.world.queue.succeed(claim)
    assert run(["report", "poet", "-o", str(tmp_path / "report.html")]) == 0
    return (tmp_path / "report.html").read_text()


def test_it_tells_what_a_reader_asks(written: str) -> None:
    page = Page(written)
    for words in (
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
        assert words in page.words, words
    assert re.search(r'<tr class="best"><th scope="row"><strong>best</strong></th>.*>200<', written)
    assert len(re.findall(r"<code>[0-9a-f]{64}</code>", written)) == 4, "digests, and the corpus"


def test_texts_are_read_down_the_epochs_of_one_temperature(written: str) -> None:
    for heat, part in zip(("0.2", "0.5"), written.split('<section class="heat"')[1:], strict=True):
        assert f'aria-label="Temperature {heat}"' in part
        assert re.findall(r"<h4>(Epoch \d)", part) == ["Epoch 1", "Epoch 2", "Epoch 3"]
        assert re.findall(r"epoch (\d) at ([\d.]+)", part) == [(e, heat) for e in "123"]
    assert re.findall(r'id="heat-(\d)" checked', written) == ["1"], "0.5 is read first"
    for number in (0, 1):
        assert f".writing:not(:has(#heat-{number}:checked)) #texts-{number}" in written


@pytest.mark.parametrize(("tokenizer", "token"), [("char", "character"), ("word", "token")])
def test_losses_are_told_of_each_token(
    served: Served, tmp_path: Path, tokenizer: str, token: str
) -> None:
    claim = served.train(tokenizer=tokenizer, window=8)
    served.epoch(claim, 1)
    target = tmp_path / "report.html"
    assert run(["report", "poet", "-o", str(target)]) == 0
    words = Page(target.read_text()).words
    assert re.findall(r"nats per (\w+)", words) == [token, token], "at the axis, and at the end"


def test_what_people_wrote_is_shown_and_never_obeyed(served: Served, tmp_path: Path) -> None:
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
    for words in (CRUEL, "<script>alert(1)</script>", '"><img src=x onerror=a>', "It <b>broke</b>"):
        assert words in page.words, words


def test_it_asks_nobody_for_anything(written: str) -> None:
    page = Page(written)
    assert not [each for each in page.attributes if each[1] in LOADING]
    assert not {"script", "link", "iframe", "object", "embed", "img", "base"} & set(page.tags)
    assert "http://" not in written
    assert "https://" not in written
    assert not re.search(r"@import|@font-face", written)
    assert set(re.findall(r"url\((.)", written)) == {"#"}
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    assert ("meta", "content", policy) in page.attributes


def test_charts_are_told_in_words_and_in_numbers_too(written: str) -> None:
    page = Page(written)
    assert page.tags.count("svg") == 3
    named = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "role")]
    assert named == ["img"] * 3
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    labels = [value for _, name, value in page.attributes if name == "aria-labelledby"]
    assert all(each in ids for label in labels for each in label.split())
    assert "Validation is best at epoch 2, with 1.500." in page.words
    table = written.split("The numbers behind the curves")[1].split("</table>")[0]
    assert re.findall(r'<tr.*?><th scope="row" class="right">(\d)</th>', table) == ["1", "2", "3"]
    curve = re.search(r'<polyline class="train"[^>]*points="([^"]*)"', written)
    judged = re.search(r'<polyline class="validation"[^>]*points="([^"]*)"', written)
    assert curve is not None
    assert judged is not None
    assert (len(curve[1].split()), len(judged[1].split())) == (6, 3)
    assert written.count("<circle") == 3


def test_the_same_job_gives_the_same_page(written: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["report", "poet", "-o", "-"]) == 0
    assert capsys.readouterr().out == written


def test_a_file_is_overwritten_only_by_force(
    written: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "report.html"
    target.write_text("mine")
    assert run(["report", "poet", "-o", str(target)]) == 2
    assert "--force overwrites it" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert run(["report", "poet", "-o", str(target), "--force"]) == 0
    assert target.read_text() == written
    assert [path.name for path in tmp_path.glob("*report*")] == ["report.html"]
    assert run(["report", "poet", "-o", str(tmp_path)]) == 2
    assert "is a directory" in capsys.readouterr().err
    assert run(["report", "poet", "-o", str(tmp_path / "no" / "report.html")]) == 2
    assert "there is no directory" in capsys.readouterr().err


def test_what_has_no_report_says_why(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "report.html")
    model = served.world.model(served.ann, name="quiet")
    job = served.ann.post("/v1/generate", {"model": model["id"]}).json
    assert run(["report", job["id"], "-o", target]) == 2
    assert "is no training (generate)" in capsys.readouterr().err
    assert run(["report", model["job"], "-o", target]) == 2
    assert "has no loss curve yet (it is succeeded)" in capsys.readouterr().err
    assert run(["report", "nobody", "-o", target]) == 3
    assert not Path(target).exists()


def test_a_training_that_runs_without_texts_or_model(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = served.ann.train(served.ann.upload(), name="plain", epochs=4)
    claim = served.world.claim(job["id"])
    served.point(claim, 50, 2.0)
    target = tmp_path / "report.html"
    assert run(["report", "plain", "-o", str(target)]) == 0
    words = Page(target.read_text()).words
    assert "It is running; this page shows it as of step 50." in words
    assert "This training wrote no texts as it learned: quire train --sample" in words
    served.world.queue.cancel_claimed(claim)
    assert served.ann.delete(f"/v1/models/{job['model']}").status_code == 204
    assert served.ann.delete(f"/v1/corpora/{job['corpus']}").status_code == 204
    assert run(["report", job["id"], "-o", str(target), "--force"]) == 0
    words = Page(target.read_text()).words
    assert "It was cancelled." in words
    assert "gone, or not yours to see" in words
