"""`quire job …`: commands that steer a job."""

import json
from pathlib import Path

import pytest

from quire.main import run
from tests.quire.conftest import Served
from tests.services.waiting import until


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
    # The line is read anew at most every so often.
    expected = [jobs[1]["id"], jobs[0]["id"]]
    until(
        lambda: [turn["job"] for turn in served.ann.get("/v1/queue").json["line"]] == expected,
        "the order of the line",
    )


def test_help_shows_only_the_new_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["job", "--help"]) == 0
    text = capsys.readouterr().out
    assert "promote" in text
    assert " lift" not in text


def test_what_judges_a_training_is_an_option(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text("A line of a text.\n" * 500)
    train = ["train", "--corpus", str(tmp_path / "text.txt"), "--no-wait", "--json"]
    for options, expected in (
        ([], "spread"),
        (["--holdout", "tail"], "tail"),
        (["--preset", "classic"], "tail"),
        (["--preset", "classic", "--holdout", "spread"], "spread"),
    ):
        assert run([*train, *options]) == 0
        assert json.loads(capsys.readouterr().out)["spec"]["holdout"] == expected
    assert run([*train, "--holdout", "head"]) == 2
    assert "holdout" in (error := capsys.readouterr().err)
    assert "'tail' or 'spread'" in error
    assert run([*train, "--set", "holdout=tail"]) == 2
    assert "use the option --holdout" in capsys.readouterr().err
