"""`quire login`, with a key or with a one-time link, and the making of links."""

import json
import os
import pty
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from quire.config import saved_login
from quire.main import run
from shared.settings import load_settings
from tests.api.harness import Person
from tests.quire.conftest import Served

LINK = r"http://127\.0\.0\.1:\d+/enrol#quire_enrol_[0-9a-z]{8}_[0-9a-f]{64}"
SECRET = re.compile(r"[0-9a-f]{64}")


@pytest.fixture
def admin(served: Served, monkeypatch: pytest.MonkeyPatch) -> Person:
    """The admin that `quire` is logged in as."""
    root = served.world.person("root", "admin")
    monkeypatch.setenv("QUIRE_KEY", root.key)
    return root


def make_link(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    assert run(["user", "enrol", "ann", "--show", *options]) == 0
    link = capsys.readouterr().out.strip()
    assert re.fullmatch(LINK, link)
    return link


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", StringIO(text))


def test_a_key_is_read_from_a_pipe(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, f"  {served.ann.key}\n")
    assert run(["login", f"{served.url}/"]) == 0
    login = saved_login(load_settings())
    assert login is not None
    assert (login.url, login.key) == (served.url, served.ann.key)
    captured = capsys.readouterr()
    assert "as ann" in captured.err
    assert not SECRET.search(captured.out + captured.err)
    type_in(monkeypatch, "\n")
    assert run(["login", served.url]) == 2
    assert "empty" in capsys.readouterr().err


def test_a_key_that_is_typed_is_not_shown(served: Served, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    login = (sys.executable, "-P", "-m", "quire", "login", served.url)
    process = subprocess.Popen(login, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
            if shown.endswith(b"API key: "):
                os.write(ours, f"{served.ann.key}\n".encode())
    except OSError:  # Linux ends a terminal whose programs have exited with EIO
        pass
    os.close(ours)
    assert process.wait(60) == 0, shown
    assert b"Logged in" in shown
    assert not SECRET.search(shown.decode())
    saved = json.loads((tmp_path / "quire" / "client.json").read_text())
    assert saved == {"url": served.url, "key": served.ann.key}


@pytest.mark.parametrize("way", [["--key", "{key}"], ["{key}"], ["--key={key}"]])
def test_a_key_on_the_command_line_is_refused(
    served: Served,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    way: list[str],
) -> None:
    type_in(monkeypatch, served.ann.key)
    assert run(["login", served.url, *(part.format(key=served.ann.key) for part in way)]) == 2
    captured = capsys.readouterr()
    assert "history" in captured.err
    assert "`quire login URL < FILE`" in captured.err
    assert not SECRET.search(captured.out + captured.err)
    assert saved_login(load_settings()) is None


def test_a_link_logs_in_once(
    served: Served,
    admin: Person,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = make_link(capsys)
    assert run(["login", link, "--name", "laptop"]) == 0
    captured = capsys.readouterr()
    assert "Logged in" in captured.err
    assert not SECRET.search(captured.out + captured.err)
    login = saved_login(load_settings())
    assert login is not None
    assert login.url == served.url
    me = Person(served.world.app.test_client(), "ann", login.key).get("/v1/me").json
    assert me["name"] == "ann"
    assert served.ann.items("/v1/users/ann/keys")[0]["name"] == "laptop"
    assert run(["login", link]) == 2
    assert "was used" in capsys.readouterr().err
    assert run(["user", "enrolments", "ann"]) == 0
    assert "redeemed" in capsys.readouterr().out


def test_a_link_may_be_pasted_in_place_of_the_key(
    served: Served,
    admin: Person,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    type_in(monkeypatch, make_link(capsys) + "\n")
    assert run(["login", served.url]) == 0
    assert saved_login(load_settings()) is not None


def test_a_link_is_not_used_up_if_the_key_could_not_be_kept(
    served: Served,
    admin: Person,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    link = make_link(capsys)
    (tmp_path / "file").touch()
    kept = load_settings().config_home
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    assert run(["login", link]) == 2
    assert "XDG_CONFIG_HOME" in capsys.readouterr().err
    monkeypatch.setenv("XDG_CONFIG_HOME", str(kept))
    assert run(["login", link]) == 0


@pytest.mark.parametrize("cut", [1, 30, 64])
def test_a_link_that_was_cut_is_refused(
    served: Served, admin: Person, capsys: pytest.CaptureFixture[str], cut: int
) -> None:
    assert run(["login", make_link(capsys)[:-cut]]) == 2
    assert "not complete" in capsys.readouterr().err


def test_a_revoked_link_says_so(
    served: Served, admin: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    link = make_link(capsys, "--expires", "2d", "--scope", "read")
    [listed] = admin.items("/v1/users/ann/enrolments")
    assert listed["scopes"] == ["read"]
    assert run(["user", "revoke-enrolment", listed["id"]]) == 0
    assert run(["login", link]) == 2
    assert "was revoked" in capsys.readouterr().err


def test_a_link_is_in_a_private_file_where_nobody_looks(
    served: Served, admin: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["user", "add", "eve", "--enrol"]) == 0
    captured = capsys.readouterr()
    assert not SECRET.search(captured.out + captured.err)
    path = Path(captured.out.strip())
    assert path.stat().st_mode & 0o777 == 0o600
    assert admin.items("/v1/users/eve/keys") == []
    assert run(["login", path.read_text().strip()]) == 0
    assert run(["user", "enrol", "eve", "--json"]) == 0
    assert re.fullmatch(LINK, json.loads(capsys.readouterr().out)["link"])
    assert run(["user", "add", "mallory", "--enrol", "--local"]) == 2
    assert "--local" in capsys.readouterr().err
