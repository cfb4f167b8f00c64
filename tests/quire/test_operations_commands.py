"""`quire drain` and `quire announce`, and where an announcement is shown."""

import pytest

from quire.main import run
from shared.worker_registry import WorkerInfo, register
from tests.quire.conftest import Served


def test_the_commands(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ann = served.ann.key
    root = served.world.person("root", "admin")
    register(served.world.engine, WorkerInfo("a", "cpu", "train", 1, {}), ready=True)
    monkeypatch.setenv("QUIRE_KEY", root.key)
    assert run(["announce", "[bold]Away[/] at six.", "--until", "2h", "--warning"]) == 0
    assert run(["drain", "a/cpu"]) == 0
    assert "a/cpu/train" in capsys.readouterr().err
    assert run(["drain", "z"]) == 3
    assert "z" in capsys.readouterr().err
    monkeypatch.setenv("QUIRE_KEY", ann)
    for command in (["queue"], ["jobs"], ["whoami"]):
        capsys.readouterr()
        assert run(command) == 0
        assert "[bold]Away[/] at six. (until" in capsys.readouterr().err, command
    assert run(["jobs", "--json"]) == 0
    assert "Away" not in capsys.readouterr().err
    assert run(["announce", "x"]) == 4
    monkeypatch.setenv("QUIRE_KEY", root.key)
    assert run(["announce"]) == 2
    assert run(["announce", "x", "--end"]) == 2
    assert run(["announce", "--end"]) == 0
    capsys.readouterr()
    assert run(["queue"]) == 0
    assert "Away" not in capsys.readouterr().err


def test_devices_names_the_slots_of_a_divided_device(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for slot in range(2):
        worker = WorkerInfo("lab", "gpu:0", "train", 1, {}, slot=slot, slots=2)
        register(served.world.engine, worker, ready=True)
    register(served.world.engine, WorkerInfo("lab", "gpu:0", "generate", 1, {}), ready=True)
    monkeypatch.setenv("QUIRE_KEY", served.ann.key)
    monkeypatch.setenv("COLUMNS", "120")
    assert run(["devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [
        line.split("gpu:0")[1].split("free")[0].strip() for line in lines if "gpu:0" in line
    ] == [
        "generate",
        "train (slot 0 of 2)",
        "train (slot 1 of 2)",
    ]


def test_the_disk_is_shown_to_admins(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUIRE_KEY", served.world.person("root", "admin").key)
    assert run(["storage"]) == 0
    assert "free disk" in capsys.readouterr().out
    assert run(["storage", "--json"]) == 0
    assert '"disk_free_bytes"' in capsys.readouterr().out
    monkeypatch.setenv("QUIRE_KEY", served.ann.key)
    assert run(["storage"]) == 4
