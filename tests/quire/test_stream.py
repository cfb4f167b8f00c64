"""`quire generate --stream`: what comes out while a text is written, and after a break."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import StringIO
from typing import Any

import pytest

from api.services import EXTENSION
from quire.main import run
from shared.job_events import EventPublisher
from shared.queue.types import Claim, problem
from tests.api.harness import record
from tests.quire.conftest import Served, lines_of
from tests.quire.test_watch import wait_until

SECONDS = 20.0
TEXT = "and the sea was calm, and the moon was full"

Say = Callable[[int, int, int], None]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.operations.event_stream.BLOCK_SECONDS", 0.3)


@pytest.fixture
def model(served: Served) -> str:
    return str(served.world.model(served.ann)["name"])


@contextmanager
def writer(
    served: Served,
    redis_url: str,
    texts: list[str],
    meanwhile: Callable[[Claim, Say], None],
    **fields: Any,
) -> Iterator[None]:
    """A worker's hand that takes the next generation, says things of it, and ends it."""
    speaker = EventPublisher(redis_url)

    def work() -> None:
        deadline = time.monotonic() + SECONDS
        while not (claims := served.world.queue.claim("generate", "here/cpu/generate")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        [claim] = claims

        def say(position: int, start: int, stop: int) -> None:
            piece = {"position": position, "offset": start, "text": texts[position][start:stop]}
            prompt = {} if start else {"prompt": "It "}
            speaker.publish(claim.job_id, claim.attempt, "piece", **piece, **prompt)
            assert speaker.flush()

        meanwhile(claim, say)
        records = [record(i, text, None, **fields) for i, text in enumerate(texts)]
        served.world.queue.succeed(claim, records)
        speaker.publish(claim.job_id, claim.attempt, "state")

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


@contextmanager
def no_seats(served: Served) -> Iterator[Callable[[], None]]:
    """A server with as many listeners as it takes; yields what lets one of them go."""
    slots = served.world.app.extensions[EXTENSION].event_stream_slots
    with ExitStack() as stack:
        assert slots.acquire(blocking=False)
        while slots.acquire(blocking=False):
            stack.callback(slots.release)
        yield slots.release


def test_without_a_seat_the_text_is_shown_at_its_end(
    served: Served, model: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def meanwhile(_claim: Claim, say: Say) -> None:
        say(0, 0, 10)

    with no_seats(served), writer(served, redis_url, [TEXT], meanwhile):
        assert run(["generate", model, "--stream"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"It {TEXT}\n"
    assert captured.err.count("Too many open event streams") == 1


def test_without_a_seat_json_is_told_the_end(
    served: Served, model: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with no_seats(served), writer(served, redis_url, [TEXT], lambda _claim, _say: None):
        assert run(["generate", model, "--stream", "--json"]) == 0
    text, state = map(json.loads, capsys.readouterr().out.splitlines())
    assert (text["event"], text["data"]["text"]) == ("text", TEXT)
    assert (state["event"], state["data"]["status"]) == ("state", "succeeded")
    assert "texts" not in state["data"]


def test_a_seat_that_is_free_again_is_taken(
    served: Served,
    model: str,
    redis_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.errors.STREAM_RETRY_SECONDS", 1)

    with no_seats(served) as leave:

        def meanwhile(_claim: Claim, say: Say) -> None:
            wait_until(lambda: "Too many open event streams" in capsys.readouterr().err)
            leave()
            say(0, 0, 10)
            assert shown(capsys, TEXT[:10]) == "It " + TEXT[:10]

        with writer(served, redis_url, [TEXT], meanwhile):
            assert run(["generate", model, "--stream"]) == 0
    assert capsys.readouterr().out == TEXT[10:] + "\n"


def test_an_echoed_prompt_is_written_once(
    served: Served, model: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def meanwhile(_claim: Claim, say: Say) -> None:
        say(0, 0, 10)

    with writer(served, redis_url, [TEXT], meanwhile, echo=True):
        assert run(["generate", model, "--stream", "--echo"]) == 0
    assert capsys.readouterr().out == f"It {TEXT}\n"


def test_several_grow_side_by_side(
    served: Served, model: str, redis_url: str, screen: StringIO
) -> None:
    texts = [TEXT, TEXT.upper()]

    def meanwhile(_claim: Claim, say: Say) -> None:
        say(0, 0, 10)
        say(1, 0, 5)
        wait_until(lambda: any(stand_beside(line, 10, 5) for line in lines_of(screen)))
        assert TEXT not in screen.getvalue()
        say(1, 5, 20)
        wait_until(lambda: any(stand_beside(line, 10, 20) for line in lines_of(screen)))

    def stand_beside(line: str, left: int, right: int) -> bool:
        return line.split("  ")[0].strip() == TEXT[:left] and (
            line.rstrip().endswith(" " + TEXT[:right].upper().rstrip())
        )

    with writer(served, redis_url, texts, meanwhile):
        assert run(["generate", model, "--stream", "--temperature", "0.2,1"]) == 0
    lines = lines_of(screen)
    assert any(line.split() == ["temperature", "0.2", "temperature", "1"] for line in lines)
    assert "It " + TEXT in lines
    assert "It " + TEXT.upper() in lines


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
