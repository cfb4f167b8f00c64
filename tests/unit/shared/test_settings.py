"""A bad setting stops the program with its name, its value and what is allowed."""

import subprocess
import sys

import pytest

from shared.settings import Settings, SettingsError, load_settings, variables
from tools.settings_page import PAGE, page


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("QUIRE_LEASE_SECONDS", "soon", ["'soon'", "number"]),
        ("QUIRE_LEASE_SECONDS", "-1", ["'-1'", "greater than 0"]),
        ("QUIRE_LEASE_SECONDS", "15", ["QUIRE_HEARTBEAT_SECONDS is 10", "two heartbeats"]),
        ("QUIRE_API_PORT", "99999", ["'99999'", "less than or equal to 65535"]),
        ("QUIRE_LOG_FORMAT", "xml", ["'xml'", "'auto', 'json' or 'text'"]),
        ("QUIRE_GPU_MEMORY_SHARE", "2", ["'2'", "less than or equal to 1"]),
        ("DATABASE_URL", "mysql://u:hunter2@h/d", ["(hidden)", "sqlite:/// or postgresql://"]),
        ("REDIS_URL", "amqp://:hunter2@h", ["(hidden)", "redis://"]),
        ("QUIRE_URL", "ftp://x", ["'ftp://x'", "http://"]),
        ("QUIRE_LEASE_SECOND", "5", ["not a setting", "did you mean QUIRE_LEASE_SECONDS?"]),
    ],
)
def test_a_bad_value_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: list[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    message = str(error.value)
    assert name in message
    for part in told:
        assert part in message
    assert "hunter2" not in message


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUIRE_API_PORT", "x")
    monkeypatch.setenv("QUIRE_MAX_ATTEMPTS", "0")
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert len(str(error.value).splitlines()) == 2


def test_the_program_stops_with_the_message_and_no_traceback() -> None:
    program = subprocess.run(
        [sys.executable, "-m", "migrations"],
        env={"QUIRE_MAX_ATTEMPTS": "many", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert program.returncode == 2
    assert program.stderr.startswith("QUIRE_MAX_ATTEMPTS is 'many'")
    assert "Traceback" not in program.stderr


def test_an_empty_value_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUIRE_API_PORT", "")
    assert load_settings().api_port == Settings().api_port


def test_the_embedded_database_lies_in_the_data_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QUIRE_DATA_DIR", "/somewhere")
    assert load_settings().database == "sqlite:////somewhere/quire.db"


def test_there_is_no_broker_by_default() -> None:
    with pytest.raises(SettingsError, match=r"REDIS_URL is not set.*quire up"):
        _ = load_settings().broker


def test_secrets_do_not_show_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@h/d")
    monkeypatch.setenv("QUIRE_KEY", "hunter2")
    settings = load_settings()
    assert "hunter2" not in repr(settings)
    assert "hunter2" in settings.database


def test_the_page_of_settings_is_that_of_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make settings`"
