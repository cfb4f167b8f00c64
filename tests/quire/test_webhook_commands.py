"""`quire webhook …`, with a courier as the API runs one."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from quire.errors import ExitCode
from quire.main import run
from shared.notifications.addresses import AddressPolicy
from shared.notifications.courier import Courier
from tests.quire.conftest import Served
from tests.services.webhooks import Receiver, receiving

ELSEWHERE = "https://hooks.example/quire"


@pytest.fixture
def receiver(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that the server may send to, and the server's courier."""
    services = served.world.app.extensions["quire"]
    settings = services.settings.model_copy(update={"webhook_allow": "127.0.0.1"})
    monkeypatch.setattr("shared.notifications.courier.POLL_SECONDS", 0.1)
    object.__setattr__(services, "settings", settings)
    stopping = threading.Event()
    courier = Courier(served.world.engine, AddressPolicy.parse(["127.0.0.1"]), None)
    thread = threading.Thread(target=courier.run, args=(stopping,))
    with receiving() as receiver:
        thread.start()
        yield receiver
        stopping.set()
        thread.join()


def test_a_test_says_what_was_answered(
    receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["webhook", "test", receiver.url]) == 0
    assert "204" in capsys.readouterr().out
    receiver.statuses = [404]
    assert run(["webhook", "test", receiver.url]) == ExitCode.JOB_FAILED
    assert "answered 404" in capsys.readouterr().out
    assert run(["webhook", "test", receiver.url, "--json"]) == ExitCode.JOB_FAILED
    assert json.loads(capsys.readouterr().out)["tries"][0]["status_code"] == 404


def test_addresses_are_added_listed_and_removed(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = served.train()
    assert run(["webhook", "list"]) == 0
    assert "quire webhook add" in capsys.readouterr().err
    assert run(["webhook", "add", ELSEWHERE]) == 0
    id, target = capsys.readouterr().out.split()
    assert target == ELSEWHERE
    assert run(["webhook", "add", ELSEWHERE, "--job", "poet", "--checkpoints", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["job"] == claim.job_id
    assert run(["webhook", "list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert run(["webhook", "rm", id]) == 0
    assert run(["webhook", "rm", id]) == ExitCode.NOT_FOUND
    served.world.checkpoint(claim, 100)
    served.world.queue.succeed(claim)
    capsys.readouterr()
    assert run(["webhook", "deliveries", "poet"]) == 0
    shown = capsys.readouterr().out
    assert "job.succeeded" in shown
    assert "checkpoint.recorded" in shown
    assert "pending" in shown


def test_a_training_and_a_text_name_who_is_told(
    served: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "poems.txt").write_text("A rose is a rose is a rose.\n" * 200)
    told = ["--notify", ELSEWHERE, "--notify", f"{ELSEWHERE}/two"]
    assert run(["train", "--corpus", str(tmp_path / "poems.txt"), "--no-wait", *told]) == 0
    capsys.readouterr()
    assert run(["webhook", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {each["target"] for each in listed} == {ELSEWHERE, f"{ELSEWHERE}/two"}
    [job] = {each["job"] for each in listed}
    assert run(["job", "show", job, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "train"
    assert run(["generate", "poems", "--after", job, "--no-wait", *told[:2]]) == 0
    assert len(served.ann.items("/v1/notifications")) == 3
    capsys.readouterr()
    wrong = ["train", "--corpus", str(tmp_path / "poems.txt"), "--no-wait", "--notify", "nowhere"]
    assert run(wrong) == ExitCode.USAGE
    assert "nowhere: give an address" in capsys.readouterr().err


def test_what_is_no_address_is_refused(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["webhook", "add", "example.org"]) == ExitCode.USAGE
    assert "https://" in capsys.readouterr().err
    assert run(["webhook", "add", "https://10.0.0.1/"]) == ExitCode.USAGE
    assert "private" in capsys.readouterr().err
    assert run(["webhook", "add", "ann@lab.example"]) == ExitCode.USAGE
    assert "sends no mail" in capsys.readouterr().err


def test_a_secret_is_shown_where_it_is_asked_for(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["webhook", "secret", "--show"]) == 0
    assert capsys.readouterr().out.strip().startswith("whsec_")
    assert run(["webhook", "secret"]) == 0
    path = capsys.readouterr().out.strip()
    with open(path) as file:
        assert file.read().startswith("whsec_")
