"""`quire job watch`: what people see, and what scripts can rely on."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from quire.client import Client
from quire.client.replies import Job
from quire.client.sync import retry
from quire.client.sync.poller import TrainingPoller
from quire.errors import ServerUnreachable
from quire.main import run
from tests.quire.conftest import ESCAPES, Served

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
BRAILLE = re.compile("[\u2801-\u28ff]")


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.05)


def job(client: Client, job_id: str) -> Job:
    return client.job(job_id)


def test_lines_are_chronological(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    claim = served.train()
    for number in (1, 2):
        served.epoch(claim, number)
    served.world.queue.succeed(claim)
    assert run(["job", "watch", "poet"]) == 0
    lines = [line.partition("  ")[2] for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "submitted"
    assert lines[1] == "claimed by host/cpu/train"
    assert re.fullmatch(r"succeeded after [\d.]+ seconds?", lines[-1])
    validated = [line for line in lines if "validation loss" in line]
    assert validated[1] == (
        "step 200 of 400 · epoch 2.0 of 4 · loss 2.100 · validation loss 1.500 · 9,000 characters/s"
    )
    texts = [line for line in lines if line.startswith("generated")]
    assert texts[0].startswith("generated (epoch 2, temperature 0.2): epoch 2 at 0.2 </p><script>")
    assert not any("checkpoint" in line for line in lines)


def test_json_has_a_line_for_each_point_and_nothing_else(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = served.train()
    served.epoch(claim, 1)
    served.world.queue.succeed(claim)
    assert run(["job", "watch", claim.job_id, "--json"]) == 0
    captured = capsys.readouterr()
    points = [json.loads(line) for line in captured.out.splitlines()]
    assert [(point["step"], point["val_loss"]) for point in points] == [
        (50, None), (90, None), (100, 1.6),
    ]  # fmt: skip
    assert set(points[0]) == {
        "step", "epoch", "loss", "val_loss", "bits_per_char", "learning_rate",
        "characters_per_second", "piece_losses", "at",
    }  # fmt: skip
    assert captured.err == ""


def test_the_exit_code_depends_on_the_job(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = served.train()
    served.world.queue.fail(
        failed, {"type": "/problems/diverged", "title": "It diverged", "detail": "lower the rate"}
    )
    assert run(["job", "watch", failed.job_id]) == 1
    assert "It diverged: lower the rate" in capsys.readouterr().err
    cancelled = served.train()
    served.world.queue.cancel_claimed(cancelled)
    assert run(["job", "watch", cancelled.job_id, "--json"]) == 1
    assert "was cancelled" in capsys.readouterr().err
    assert run(["job", "watch", "nobody"]) == 3
    assert "`quire jobs` lists them" in capsys.readouterr().err


def test_a_generation_is_followed_to_its_texts(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    model = served.world.model(served.ann)
    written = served.ann.post("/v1/generate", {"model": model["id"]}).json
    served.world.write(written, ["a text of its own"])
    assert run(["job", "watch", written["id"]]) == 0
    assert "a text of its own" in capsys.readouterr().out


def test_updates_contain_news_once_and_repeated_steps_again(served: Served, client: Client) -> None:
    claim = served.train()
    poller = TrainingPoller(client, job(client, claim.job_id), thin=False)
    assert [event.type for event in poller.poll().events] == ["submitted", "claimed"]
    served.epoch(claim, 1)
    update = poller.poll()
    assert [point.step for point in update.points] == [50, 90, 100]
    assert [text.temperature for text in update.texts] == [0.2, 0.5]
    served.point(claim, 150, 9.0)
    served.point(claim, 190, 14.5)
    assert [point.step for point in poller.poll().points] == [150, 190]
    assert not poller.poll().points
    served.world.queue.record_event(claim, "resumed", step=100, epoch=1.0)
    update = poller.poll()
    assert ([event.type for event in update.events], update.points) == (["resumed"], [])
    served.point(claim, 140, 2.0)
    assert [point.step for point in poller.poll().points] == [140]
    served.point(claim, 190, 1.9)
    update = poller.poll()
    assert [(point.step, point.loss) for point in update.points] == [(190, 1.9)]
    assert not update.texts


def test_a_rollback_drops_the_points_of_an_explosion(served: Served, client: Client) -> None:
    claim = served.train()
    served.epoch(claim, 1)
    served.point(claim, 150, 14.5)
    data = {"step": 160, "loss": "nan", "back_to": 100, "learning_rate": 0.005, "rollbacks": 1}
    served.world.queue.record_event(claim, "rolled_back", **data)
    late = TrainingPoller(client, job(client, claim.job_id), thin=False)
    update = late.poll()
    assert [point.step for point in update.points] == [50, 90, 100]
    assert update.events[-1].type == "rolled_back"
    served.point(claim, 190, 2.0)
    assert [point.step for point in late.poll().points] == [190]
    assert not late.poll().points


def test_a_first_poll_returns_the_curve_and_the_last_texts(served: Served, client: Client) -> None:
    claim = served.train()
    for number in (1, 2, 3):
        served.epoch(claim, number)
    poller = TrainingPoller(client, job(client, claim.job_id), thin=True)
    update = poller.poll()
    assert len(update.points) == 9
    assert [(text.epoch, text.temperature) for text in update.texts] == [(3.0, 0.2), (3.0, 0.5)]
    served.epoch(claim, 4)
    update = poller.poll()
    assert [point.step for point in update.points] == [350, 390, 400]
    assert [(text.epoch, text.temperature) for text in update.texts] == [(4.0, 0.2), (4.0, 0.5)]


def test_an_outage_is_waited_out_and_reported(
    nowhere: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    tries = iter(range(2))

    def ask() -> str:
        if next(tries) < 1:
            nowhere.me()
        return "back"

    assert retry.retry_while_unreachable(ask, messages.append) == "back"
    assert len(messages) == 2
    assert messages[0].startswith("the server is unreachable, retrying: http://127.0.0.1:")
    assert messages[1] in {"the server is back after a moment", "the server is back after a second"}
    monkeypatch.setattr(retry, "MAX_OUTAGE_SECONDS", 0.0)
    with pytest.raises(ServerUnreachable):
        retry.retry_while_unreachable(nowhere.me)


@pytest.fixture
def nowhere(served: Served) -> Client:
    """A client of an address without a server."""
    port = int(served.url.rpartition(":")[2])
    return Client(f"http://127.0.0.1:{port - 1 if port > 1025 else port + 1}", "key")


class Terminal:
    """`quire` in a pseudoterminal."""

    def __init__(self, *arguments: str, rows: int = 40, columns: int = 100) -> None:
        self._master, slave = pty.openpty()
        size = {"COLUMNS": str(columns), "LINES": str(rows), "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "quire", *arguments],
            cwd=ROOT, env=os.environ | size, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self._output = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def output(self) -> str:
        """The output so far, without colours and cursor movements."""
        return ESCAPES.sub("", self._output.decode(errors="replace"))

    def end(self) -> int:
        """Wait until it exits, and return its exit code."""
        try:
            return self.process.wait(SECONDS)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()
            os.close(self._master)

    def _read(self) -> None:
        terminal = select.poll()
        terminal.register(self._master, select.POLLIN)
        while True:
            # Not `select`, which knows no descriptor above 1023: a long test run has more.
            ready = terminal.poll(200)
            try:
                data = os.read(self._master, 65536) if ready else b""
            except OSError:  # the process has exited
                return
            self._output += data
            if not ready and self.process.poll() is not None:
                return


def test_a_terminal_shows_curves_numbers_texts_and_events(served: Served) -> None:
    claim = served.train()
    served.epoch(claim, 1)
    terminal = Terminal("job", "watch", "poet", columns=140)
    try:
        wait_until(lambda: "generated after epoch 1" in terminal.output)
        served.epoch(claim, 2)
        wait_until(lambda: "generated after epoch 2" in terminal.output)
        served.world.queue.record_event(claim, "resumed", step=200, epoch=2.0)
        wait_until(lambda: "resumed from the checkpoint at step 200" in terminal.output)
        served.world.queue.succeed(claim)
    finally:
        code = terminal.end()
    output = terminal.output
    assert code == 0, output
    assert BRAILLE.search(output)
    for words in (
        "─── training   ─●─ validation",
        "step 200 of 400 · epoch 2.0 of 4 · loss 2.100 · validation loss 1.500",
        "best 1.500 at epoch 2",
        "9,000 characters/s",
        "0:20 left",
        "0.5  epoch 2 at 0.5 </p><script>",
        "succeeded after",
        f"quire report {claim.job_id} -o report.html",
    ):
        assert words in output, words


@pytest.mark.parametrize(("rows", "columns"), [(12, 40), (8, 20), (60, 220)])
def test_every_terminal_size_works(served: Served, rows: int, columns: int) -> None:
    claim = served.train()
    served.epoch(claim, 1)
    served.world.queue.succeed(claim)
    terminal = Terminal("job", "watch", "poet", rows=rows, columns=columns)
    assert terminal.end() == 0, terminal.output
    assert "succeeded" in terminal.output


def test_ctrl_c_leaves_the_job_running(served: Served) -> None:
    claim = served.train()
    served.epoch(claim, 1)
    terminal = Terminal("job", "watch", "poet")
    try:
        wait_until(lambda: "generated after epoch 1" in terminal.output)
        terminal.process.send_signal(signal.SIGINT)
    finally:
        code = terminal.end()
    assert code == 130
    assert "The job poet keeps running." in terminal.output
    assert f"quire job watch {claim.job_id}" in terminal.output
    assert served.ann.get(f"/v1/jobs/{claim.job_id}").json["status"] == "running"


def test_a_closed_pipe_is_not_an_error(served: Served) -> None:
    claim = served.train()
    served.epoch(claim, 1)
    command = [sys.executable, "-m", "quire", "job", "watch", claim.job_id, "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["step"] == 50
        process.stdout.close()
        served.epoch(claim, 2)
        assert process.wait(SECONDS) == 0
        assert process.stderr.read() == ""
