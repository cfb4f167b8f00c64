"""`quire user` and `quire key`: the owner of a new key, and disabled users."""

import pytest

from quire.main import run
from tests.api.harness import Person
from tests.quire.conftest import Served


@pytest.fixture
def admin(served: Served, monkeypatch: pytest.MonkeyPatch) -> Person:
    """The admin that `quire` is logged in as."""
    root = served.world.person("root", "admin")
    monkeypatch.setenv("QUIRE_KEY", root.key)
    return root


def test_a_key_named_like_a_user_is_refused(
    served: Served, admin: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["key", "add", "ann"]) == 2
    captured = capsys.readouterr()
    assert "`quire key add --user ann`" in captured.err
    assert captured.out == ""
    assert len(admin.items("/v1/users/root/keys")) == 1
    assert run(["key", "add", "--user", "ann"]) == 0
    key = capsys.readouterr().out.strip()
    assert Person(served.world.app.test_client(), "", key).get("/v1/me").json["name"] == "ann"
    assert run(["key", "add", "laptop"]) == 0
    assert admin.items("/v1/users/root/keys")[0]["name"] == "laptop"


def test_a_member_does_not_learn_which_users_exist(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    served.world.person("bob")
    assert run(["key", "add", "bob"]) == 0
    assert run(["key", "add", "ann"]) == 2
    assert "`quire key add --user ann`" in capsys.readouterr().err


def test_a_user_is_disabled_and_enabled(
    served: Served, admin: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["user", "disable", "ann"]) == 0
    assert "ann is disabled" in capsys.readouterr().err
    assert served.ann.get("/v1/me").status_code == 401
    assert run(["user", "list"]) == 0
    states = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "disabled" in states["ann"]
    assert "active" in states["root"]
    assert run(["user", "enable", "ann"]) == 0
    assert served.ann.get("/v1/me").status_code == 200
    assert run(["user", "disable", "root"]) == 2
    assert "yourself" in capsys.readouterr().err


def test_sharing_says_what_it_shares(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    model = served.world.model(served.ann)
    assert run(["model", "share", model["name"]]) == 0
    assert "passages of its corpus" in capsys.readouterr().err
    assert run(["corpus", "excerpts", "orwell"]) == 0
    assert "show pieces of this corpus" in capsys.readouterr().err
    assert run(["corpus", "show", "orwell"]) == 0
    assert "shown by shared models" in capsys.readouterr().out
    assert run(["corpus", "share", "orwell"]) == 0
    assert "read the whole corpus" in capsys.readouterr().err
    for command in (["model", "share"], ["corpus", "share"]):
        assert run([*command, "orwell", "--private"]) == 0
        assert "Everyone" not in capsys.readouterr().err


def test_a_list_of_keys_says_who_made_them(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = served.world.person("root", "admin")
    admin.post("/v1/users/ann/keys", {"name": "not hers"})
    assert run(["key", "list"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if "not hers" in line]
    assert line.split()[-3:] == ["valid", "root", "127.0.0.1"]
