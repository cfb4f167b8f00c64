"""`quire group`, and sharing with a group."""

import json

import pytest

from quire.main import run
from tests.api.harness import Person
from tests.quire.conftest import Served


@pytest.fixture
def admin(served: Served) -> Person:
    return served.world.person("root", "admin")


def as_user(monkeypatch: pytest.MonkeyPatch, person: Person) -> None:
    monkeypatch.setenv("QUIRE_KEY", person.key)


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_an_admin_and_a_teacher_manage_a_group(
    served: Served,
    admin: Person,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    teacher = served.world.person("tess")
    as_user(monkeypatch, admin)
    limits = ["--running", "3", "--stored-bytes", "5000000", "--member-queued", "4"]
    assert run(["group", "add", "class", "--ends-at", "2099-07-01T18:00", *limits]) == 0
    assert run(["group", "add-user", "class", "tess", "--role", "teacher"]) == 0
    assert run(["group", "add-user", "class", "ann"]) == 0
    assert "Added ann to class (member)" in capsys.readouterr().err
    as_user(monkeypatch, teacher)
    assert run(["group", "add-user", "class", "eve", "--new", "--json"]) == 0
    assert json.loads(shown(capsys))["name"] == "eve"
    assert run(["group", "set", "class", "--member-running", "2", "--member-queued", "none"]) == 0
    told = shown(capsys)
    assert "3 together, 2 each" in told
    assert "no limit together, the server's each" in told
    assert "2099" in told
    assert run(["group", "set", "class", "--running", "9"]) == 4
    assert "only an admin may change max_running" in capsys.readouterr().err
    assert run(["group", "set", "class", "--member-running", "4"]) == 2
    assert "at most 3" in capsys.readouterr().err
    assert run(["group", "members", "class"]) == 0
    lines = {line.split()[0]: line for line in shown(capsys).splitlines()}
    assert "teacher" in lines["tess"]
    assert {"ann", "eve"} <= lines.keys()
    assert run(["user", "disable", "eve"]) == 0
    assert run(["group", "members", "class"]) == 0
    assert "disabled" in shown(capsys)
    assert run(["group", "remove-user", "class", "eve"]) == 0
    as_user(monkeypatch, admin)
    assert run(["group", "set-role", "class", "ann", "teacher"]) == 0
    assert run(["group", "list"]) == 0
    assert "class" in shown(capsys)
    assert run(["group", "set", "class", "--never-ends", "--json"]) == 0
    assert json.loads(shown(capsys))["ends_at"] is None
    assert run(["group", "rm", "class"]) == 0
    assert run(["group", "show", "class"]) == 3
    assert "'class' does not exist" in capsys.readouterr().err


def test_wrong_limits_and_ends_are_bad_usage(
    admin: Person, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_user(monkeypatch, admin)
    assert run(["group", "add", "class"]) == 0
    for options, message in (
        ([], "nothing to set"),
        (["--running", "many"], "--running many: give a whole number, or `none`"),
        (["--member-device-seconds", "x"], "--member-device-seconds x"),
        (["--never-ends", "--ends-at", "2099-01-01"], "contradict"),
        (["--ends-at", "soon"], "--ends-at"),
    ):
        assert run(["group", "set", "class", *options]) == 2
        assert message in capsys.readouterr().err


def test_a_model_and_a_corpus_are_shared_with_a_group(
    served: Served,
    admin: Person,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bob = served.world.person("bob")
    admin.post("/v1/groups", {"name": "class"})
    for name in ("ann", "bob"):
        admin.post("/v1/groups/class/members", {"user": name})
    model = served.world.model(served.ann)
    assert run(["model", "share", model["name"], "--group", "class"]) == 0
    captured = capsys.readouterr()
    assert "(visible to the group class)" in captured.err
    assert "Everyone in the group class may now generate" in captured.err
    assert run(["corpus", "share", "orwell", "--group", "class"]) == 0
    assert "Everyone in the group class may now read the whole corpus" in capsys.readouterr().err
    as_user(monkeypatch, bob)
    for command in (["models"], ["corpus", "list"], ["corpus", "show", "orwell"]):
        assert run(command) == 0
        assert "the group class" in shown(capsys)
    as_user(monkeypatch, served.ann)
    assert run(["model", "share", model["name"], "--group", "class", "--private"]) == 2
    assert "contradict" in capsys.readouterr().err
    assert run(["model", "share", model["name"], "--group", "other"]) == 2
    assert "group" in capsys.readouterr().err
    assert run(["model", "share", model["name"], "--private"]) == 0
    assert bob.items("/v1/models") == []
