"""Deleting, restoring and purging from the command line."""

import json

import pytest

from quire.main import run
from tests.quire.conftest import Served


def test_a_model_and_its_corpus_are_had_back(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    model = served.world.model(served.ann, served.ann.upload(name="diary"), name="muse")
    assert run(["model", "rm", "muse"]) == 0
    assert "quire model restore muse" in capsys.readouterr().err
    assert run(["corpus", "rm", "diary"]) == 0
    assert run(["models"]) == 0
    assert "muse" not in capsys.readouterr().out
    assert run(["models", "--deleted"]) == 0
    told = capsys.readouterr().out
    assert "muse" in told
    assert "RESTORE UNTIL" in told
    assert run(["corpus", "list", "--deleted"]) == 0
    assert "diary" in capsys.readouterr().out
    assert run(["model", "restore", "verse"]) == 3
    assert "quire models --deleted" in capsys.readouterr().err
    assert run(["model", "restore", "muse", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == model["id"]
    assert run(["corpus", "show", "diary"]) == 0, "it came back with its model"
    assert run(["model", "rm", "muse"]) == 0
    assert run(["model", "restore", model["id"]]) == 0
    capsys.readouterr()


def test_what_is_deleted_is_purged(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    model = served.world.model(served.ann, served.ann.upload(name="diary"), name="muse")
    assert run(["model", "rm", "muse"]) == 0
    assert run(["model", "rm", "muse"]) == 3
    assert run(["model", "rm", "muse", "--purge"]) == 0
    assert "for good" in capsys.readouterr().err
    assert run(["model", "restore", model["id"]]) == 3
    assert "no deleted model has the id" in capsys.readouterr().err
    assert run(["corpus", "rm", "diary", "--purge"]) == 0
    assert run(["corpus", "rm", "diary", "--purge"]) == 3
    assert run(["corpus", "list", "--deleted"]) == 0
    assert "No deleted corpora" in capsys.readouterr().err
