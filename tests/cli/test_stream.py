"""`quire generate --stream`: what comes out while a text is written, and after a break."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO

import pytest
from rich.console import Console

from cli.listening import read
from cli.main import run
from cli.streaming import _columns
from shared.records import Claim, problem
from shared.stream import Speaker
from tests.api.world import record
from tests.cli.conftest import Served
from tests.cli.test_watch import wait_until

SECONDS = 20.0
TEXT = "and the sea was calm, and the moon was full"

Say = Callable[[int, int, int], None]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.following.LOOK_SECONDS", 0.3)


@pytest.fixture
def model(served: Served) -> str:
    return str(served.world.model(served.ann)["name"])


@contextmanager
def writer(
    served: Served, redis_url: str, texts: list[str], meanwhile: Callable[[Claim, Say], None]
) -> Iterator[None]:
    """A worker's hand that takes the next generation, says things of it, and ends it."""
    speaker = Speaker(redis_url)

    def work() -> None:
        deadline = time.monotonic() + SECONDS
        while not (claims := served.world.queue.claim("generate", "here/cpu/generate")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        [claim] = claims

        def say(position: int, start: int, stop: int) -> None:
            piece = {"position": position, "offset": start, "text": texts[position][start:stop]}
            prompt = {} if start else {"prompt": "It "}
            speaker.say(claim.job_id, claim.attempt, "piece", **piece, **prompt)
            assert speaker.flush()

        meanwhile(claim, say)
        served.world.queue.succeed(claim, [record(i, text, None) for i, text in enumerate(texts)])
        speaker.say(claim.job_id, claim.attempt, "state")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join(SECONDS)


def shown(capsys: pytest.CaptureFixture[str], wanted: str) -> str:
    """What came out since the last look, once the wanted is in it."""
    out = ""

    def is_there() -> bool:
        nonlocal out
        out += capsys.readouterr().out
        return wanted in out

    wait_until(is_there)
    return out


def test_one_text_is_written_as_it_comes(
    served: Served, model: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def meanwhile(_claim: Claim, say: Say) -> None:
        say(0, 0, 10)
        assert shown(capsys, TEXT[:10]) == "It " + TEXT[:10]
        say(0, 10, 30)

    with writer(served, redis_url, [TEXT], meanwhile):
        assert run(["generate", model, "--stream"]) == 0
    assert capsys.readouterr().out == TEXT[10:] + "\n"


def test_of_several_none_is_cut_in_pieces_where_no_terminal_is(
    served: Served, model: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def meanwhile(_claim: Claim, say: Say) -> None:
        say(1, 0, 5)
        say(0, 0, 5)

    with writer(served, redis_url, [TEXT, TEXT.upper()], meanwhile):
        assert run(["generate", model, "--stream", "--temperature", "0.2,1"]) == 0
    out = capsys.readouterr().out
    assert out.index("It " + TEXT) < out.index("It " + TEXT.upper())


def test_json_has_a_line_for_each_event(
    served: Served, model: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ""

    def meanwhile(_claim: Claim, say: Say) -> None:
        # Who comes after the end is told the text first.
        nonlocal before
        before = shown(capsys, '"state"')
        say(0, 0, 5)

    with writer(served, redis_url, [TEXT], meanwhile):
        assert run(["generate", model, "--stream", "--json"]) == 0
    told = [json.loads(line) for line in (before + capsys.readouterr().out).splitlines()]
    assert told[0]["event"] == "state"
    assert [each["event"] for each in told[-2:]] == ["text", "state"]
    assert told[-2]["data"]["text"] == TEXT
    assert told[-1]["data"]["status"] == "succeeded"


def test_a_failure_is_told_and_ends_with_its_code(
    served: Served, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = problem("worker-lost", "The worker was lost", "Run it again.")

    def work() -> None:
        wait_until(lambda: served.ann.items("/v1/jobs?kind=generate"))
        [claim] = served.world.queue.claim("generate", "here/cpu/generate")
        served.world.queue.fail(claim, error)

    thread = threading.Thread(target=work)
    thread.start()
    assert run(["generate", model, "--stream"]) == 1
    thread.join(SECONDS)
    assert "Run it again." in capsys.readouterr().err


def test_it_streams_or_does_not_wait(
    served: Served, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["generate", model, "--stream", "--no-wait"]) == 2
    assert "--stream and --no-wait" in capsys.readouterr().err


def test_columns_hold_the_ends_of_the_texts() -> None:
    texts = ["one " * 200 + "end of one", "two", "", "four"]
    console = Console(width=100, height=20, record=True, file=StringIO())
    console.print(_columns(["T 0.2", "T 0.5", "T 1", "T 1.2"], texts, 100, 20))
    lines = console.export_text().splitlines()
    assert len(lines) <= 20
    assert all(heading in lines[0] for heading in ("T 0.2", "T 0.5", "T 1", "T 1.2"))
    assert any("of one" in line for line in lines)
    assert "two" in lines[1]


def test_events_are_read_as_browsers_read_them() -> None:
    lines = [
        "retry: 2000",
        "",
        ": still there",
        "",
        "id: 1-2",
        "event: piece",
        'data: {"a": 1}',
        "",
    ]
    [told] = read(lines)
    assert (told.kind, told.data, told.id) == ("piece", {"a": 1}, "1-2")
