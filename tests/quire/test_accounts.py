"""`quire user` and `quire key`: the owner of a new key, and disabled users."""

import json
import re
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from quire.main import run
from tests.api.harness import Person, expire
from tests.quire.conftest import Served

KEY = r"quire_[0-9a-z]{8}_[0-9a-f]{64}"


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
    key = Path(capsys.readouterr().out.strip()).read_text().strip()
    assert Person(served.world.app.test_client(), "", key).get("/v1/me").json["name"] == "ann"
    assert run(["key", "add", "laptop"]) == 0
    assert admin.items("/v1/users/root/keys")[0]["name"] == "laptop"


@pytest.mark.parametrize("command", [["key", "add"], ["user", "add", "bob"]])
def test_a_key_is_printed_on_a_terminal_alone(
    command: list[str],
    admin: Person,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(command) == 0
    captured = capsys.readouterr()
    assert not re.search(KEY, captured.out + captured.err)
    path = Path(captured.out.strip())
    assert re.fullmatch(KEY, path.read_text().strip())
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert "--show" in captured.err
    again = [*command[:2], *(f"{word}2" for word in command[2:])]
    sent = StringIO()
    monkeypatch.setattr(
        "quire.commands.accounts.new_key.out", Console(file=sent, force_terminal=True)
    )
    assert run(again) == 0
    assert re.fullmatch(KEY, sent.getvalue().strip())


@pytest.mark.parametrize("command", [["key", "add"], ["user", "add", "bob"]])
def test_a_script_may_ask_for_the_key(
    command: list[str], admin: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--show"]) == 0
    assert re.fullmatch(KEY, capsys.readouterr().out.strip())
    again = [*command[:2], *(f"{word}2" for word in command[2:])]
    assert run([*again, "--json"]) == 0
    assert re.fullmatch(KEY, json.loads(capsys.readouterr().out)["key"])


def test_no_key_is_made_that_could_not_be_kept(
    admin: Person,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    assert run(["user", "add", "bob"]) == 2
    assert "--show" in capsys.readouterr().err
    assert "bob" not in [user["name"] for user in admin.items("/v1/users")]


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


def test_a_list_of_keys_says_what_each_may_do_and_until_when(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ["key", "add", "notebook", "--scope", "read", "--scope", "submit", "--expires", "30d"]
    assert run(made) == 0
    assert run(["key", "add", "spent", "--expires", "1h"]) == 0
    path = Path(capsys.readouterr().out.splitlines()[-1])
    expire(served.world, Person(served.world.app.test_client(), "ann", path.read_text().strip()))
    assert run(["key", "list"]) == 0
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines()[2:]}
    until = (datetime.now() + timedelta(days=30)).strftime("until %Y-%m-%d")
    assert "read submit " in lines["notebook"]
    assert until in lines["notebook"]
    assert "never" in lines["notebook"]
    assert "expired" in lines["spent"]


@pytest.mark.parametrize("expires", ["soon", "30", "-1d", "999999w", "2026-13-01", "30d "])
def test_an_expiry_that_is_none_is_refused(
    served: Served, capsys: pytest.CaptureFixture[str], expires: str
) -> None:
    assert run(["key", "add", f"--expires={expires}"]) == 2
    assert f"--expires {expires}" in capsys.readouterr().err
    assert len(served.ann.items("/v1/users/ann/keys")) == 1


def test_a_key_without_the_scope_is_told_the_way_out(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = served.ann.post("/v1/users/ann/keys", {"scopes": ["read"]}).json
    monkeypatch.setenv("QUIRE_KEY", made["key"])
    assert run(["whoami"]) == 0
    shown = capsys.readouterr().out
    assert f"{made['prefix']}, for read" in shown
    assert "never" in shown
    assert run(["key", "add"]) == 4
    assert "`quire key add --scope manage`" in capsys.readouterr().err


def test_the_audit_is_shown_and_filtered(
    served: Served, admin: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["user", "add", "eve"]) == 0
    stranger = Person(served.world.app.test_client(), "x", f"quire_00000000_{'0' * 64}")
    for _ in range(3):
        stranger.get("/v1/me")
    capsys.readouterr()
    assert run(["audit"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"sign_in\.refused × 3 .* 00000000 .*unknown: 3", shown)
    assert re.search(r"user\.created +root +eve .*role: member", shown)
    assert run(["audit", "--action", "key.created", "--user", "eve", "--since", "1h"]) == 0
    [_head, _rule, line] = capsys.readouterr().out.splitlines()
    assert "scopes: read submit manage" in line
    assert run(["audit", "--limit", "1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert run(["audit", "--since", "never"]) == 2
    assert "--since never" in capsys.readouterr().err
    assert run(["audit", "--action", "nothing"]) == 2
    assert "action" in capsys.readouterr().err
