"""`quire job …`: commands that steer a job."""

import pytest

from quire.main import run
from tests.quire.conftest import Served


@pytest.mark.parametrize("command", ["promote", "lift"])
def test_an_admin_moves_a_job_to_the_front_of_the_queue(
    served: Served,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corpus = served.ann.upload()
    jobs = [served.ann.train(corpus, preset="classic", epochs=1, name=name) for name in "ab"]
    assert run(["job", command, jobs[1]["id"]]) == 4, "only admins may"
    monkeypatch.setenv("QUIRE_KEY", served.world.person("root", "admin").key)
    capsys.readouterr()
    assert run(["job", command, jobs[1]["id"]]) == 0
    assert capsys.readouterr().err == f"{jobs[1]['id']} is next in the queue.\n"
    assert [turn["job"] for turn in served.ann.get("/v1/queue").json["line"]] == [
        jobs[1]["id"],
        jobs[0]["id"],
    ]


def test_help_shows_only_the_new_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["job", "--help"]) == 0
    text = capsys.readouterr().out
    assert "promote" in text
    assert " lift" not in text
