"""`quire generate --stream`: its output while texts are generated, and without a free stream."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest

from api.services import EXTENSION
from quire.client import Client
from quire.client.sync.event_stream import stream_events_of_jobs
from quire.main import run
from shared.event_publisher import EventPublisher
from shared.queue.types import Claim, problem
from tests.api.harness import record
from tests.quire.conftest import Served, lines_of
from tests.quire.test_watch import wait_until

SECONDS = 20.0
TEXT = "and the sea was calm, and the moon was full"

SendPiece = Callable[[int, int, int], None]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.operations.following.event_stream.BLOCK_SECONDS", 0.3)
    monkeypatch.setattr("api.operations.following.job_follower.BLOCK_SECONDS", 0.3)


@pytest.fixture
def model(served: Served) -> str:
    return str(served.world.model(served.ann)["name"])


@contextmanager
def worker(
    served: Served,
    redis_url: str,
    texts: list[str],
    during_run: Callable[[Claim, SendPiece], None],
    **fields: Any,
) -> Iterator[None]:
    """A worker that claims the next generation, publishes events of it, and ends it."""
    speaker = EventPublisher(redis_url)

    def work() -> None:
        deadline = time.monotonic() + SECONDS
        while not (claims := served.world.queue.claim("generate", "here/cpu/generate")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        [claim] = claims

        def send_piece(position: int, start: int, stop: int) -> None:
            piece = {"position": position, "offset": start, "text": texts[position][start:stop]}
            prompt = {} if start else {"prompt": "It "}
            speaker.publish(claim.job_id, claim.attempt, "piece", **piece, **prompt)
            assert speaker.flush()

        during_run(claim, send_piece)
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
    """The output since the last call, once it contains `wanted`."""
    out = ""

    def is_there() -> bool:
        nonlocal out
        out += capsys.readouterr().out
        return wanted in out

    wait_until(is_there)
    return out


def test_a_single_text_is_written_piece_by_piece(
    served: Served, model: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def during_run(_claim: Claim, send_piece: SendPiece) -> None:
        send_piece(0, 0, 10)
        assert shown(capsys, TEXT[:10]) == "It " + TEXT[:10]
        send_piece(0, 10, 30)

    with worker(served, redis_url, [TEXT], during_run):
        assert run(["generate", model, "--stream"]) == 0
    assert capsys.readouterr().out == TEXT[10:] + "\n"


@contextmanager
def all_streams_open(served: Served) -> Iterator[Callable[[], None]]:
    """Open as many event streams as the server allows; yields a function that closes one."""
    seats = served.world.app.extensions[EXTENSION].event_stream_seats
    # Each by another user: of one who held them all, a newcomer would get one.
    held = [seats.take(f"user {number}") for number in range(seats.count)]
    yield lambda: seats.leave(held.pop())
    for seat in held:
        seats.leave(seat)


def test_without_a_free_stream_the_text_is_shown_when_finished(
    served: Served, model: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def during_run(_claim: Claim, send_piece: SendPiece) -> None:
        send_piece(0, 0, 10)

    with all_streams_open(served), worker(served, redis_url, [TEXT], during_run):
        assert run(["generate", model, "--stream"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"It {TEXT}\n"
    assert captured.err.count("polling until the job has ended") == 1


def test_without_a_free_stream_json_contains_the_final_events(
    served: Served, model: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with all_streams_open(served), worker(served, redis_url, [TEXT], lambda _claim, _say: None):
        assert run(["generate", model, "--stream", "--json"]) == 0
    text, state = map(json.loads, capsys.readouterr().out.splitlines())
    assert (text["event"], text["data"]["text"]) == ("text", TEXT)
    assert (state["event"], state["data"]["status"]) == ("state", "succeeded")
    assert "texts" not in state["data"]


def test_a_stream_that_becomes_free_is_used(
    served: Served,
    model: str,
    redis_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.errors.STREAM_RETRY_SECONDS", 1)

    with all_streams_open(served) as leave:

        def during_run(_claim: Claim, send_piece: SendPiece) -> None:
            wait_until(lambda: "polling until the job has ended" in capsys.readouterr().err)
            leave()
            send_piece(0, 0, 10)
            assert shown(capsys, TEXT[:10]) == "It " + TEXT[:10]

        with worker(served, redis_url, [TEXT], during_run):
            assert run(["generate", model, "--stream"]) == 0
    assert capsys.readouterr().out == TEXT[10:] + "\n"


def test_an_echoed_prompt_is_written_once(
    served: Served, model: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def during_run(_claim: Claim, send_piece: SendPiece) -> None:
        send_piece(0, 0, 10)

    with worker(served, redis_url, [TEXT], during_run, echo=True):
        assert run(["generate", model, "--stream", "--echo"]) == 0
    assert capsys.readouterr().out == f"It {TEXT}\n"


def test_several_grow_side_by_side(
    served: Served, model: str, redis_url: str, screen: StringIO
) -> None:
    texts = [TEXT, TEXT.upper()]

    def during_run(_claim: Claim, send_piece: SendPiece) -> None:
        send_piece(0, 0, 10)
        send_piece(1, 0, 5)
        wait_until(lambda: any(stand_beside(line, 10, 5) for line in lines_of(screen)))
        assert TEXT not in screen.getvalue()
        send_piece(1, 5, 20)
        wait_until(lambda: any(stand_beside(line, 10, 20) for line in lines_of(screen)))

    def stand_beside(line: str, left: int, right: int) -> bool:
        return line.split("  ")[0].strip() == TEXT[:left] and (
            line.rstrip().endswith(" " + TEXT[:right].upper().rstrip())
        )

    with worker(served, redis_url, texts, during_run):
        assert run(["generate", model, "--stream", "--temperature", "0.2,1"]) == 0
    lines = lines_of(screen)
    assert any(line.split() == ["temperature", "0.2", "temperature", "1"] for line in lines)
    assert "It " + TEXT in lines
    assert "It " + TEXT.upper() in lines


def test_several_texts_are_written_whole_without_a_terminal(
    served: Served, model: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def during_run(_claim: Claim, send_piece: SendPiece) -> None:
        send_piece(1, 0, 5)
        send_piece(0, 0, 5)

    with worker(served, redis_url, [TEXT, TEXT.upper()], during_run):
        assert run(["generate", model, "--stream", "--temperature", "0.2,1"]) == 0
    out = capsys.readouterr().out
    assert out.index("It " + TEXT) < out.index("It " + TEXT.upper())


def test_json_has_one_line_per_event(
    served: Served, model: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ""

    def during_run(_claim: Claim, send_piece: SendPiece) -> None:
        # A stream opened after the end would begin with the text.
        nonlocal before
        before = shown(capsys, '"state"')
        send_piece(0, 0, 5)

    with worker(served, redis_url, [TEXT], during_run):
        assert run(["generate", model, "--stream", "--json"]) == 0
    events = [json.loads(line) for line in (before + capsys.readouterr().out).splitlines()]
    assert events[0]["event"] == "state"
    assert [event["event"] for event in events[-2:]] == ["text", "state"]
    assert events[-2]["data"]["text"] == TEXT
    assert events[-1]["data"]["status"] == "succeeded"


def test_a_failed_job_is_reported_with_its_exit_code(
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


def test_stream_and_no_wait_exclude_each_other(
    served: Served, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["generate", model, "--stream", "--no-wait"]) == 2
    assert "--stream and --no-wait" in capsys.readouterr().err


def test_the_client_follows_several_jobs_in_one_stream(served: Served, redis_url: str) -> None:
    model = served.world.model(served.ann)
    with Client(served.url, served.ann.key) as client:
        jobs = [client.submit_generation({"model": model["id"], "length": 20}) for _ in range(2)]
        for job in jobs:
            served.world.write({"id": job.id}, [TEXT[:20]])
        events = list(stream_events_of_jobs(client, [job.id for job in jobs]))
    ids = [job.id for job in jobs]
    assert [job_id for job_id, event in events if event.type == "text"] == ids
    ends = [(job_id, event.data["status"]) for job_id, event in events if event.type == "state"]
    assert ends == [(job_id, "succeeded") for job_id in ids]
