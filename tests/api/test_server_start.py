"""What stops the API process at its start: one line that names the setting and the way out."""

import json
import signal

import pytest

from migrations.migrate import downgrade
from tests.api.test_server import (
    START_SECONDS,
    STOP_SECONDS,
    address,
    database_url,
    environment,
    process,
)

__all__ = ["database_url", "environment"]


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"QUIRE_API_THREADS": "none"}, (), "QUIRE_API_THREADS is 'none'"),
        ({}, ("--port", "70000"), "QUIRE_API_PORT is '70000'"),
        ({"REDIS_URL": ""}, (), "REDIS_URL is not set"),
        ({"QUIRE_API_THREAD": "3"}, (), "did you mean QUIRE_API_THREADS?"),
    ],
)
def test_an_invalid_setting_prints_one_line(
    environment: dict[str, str], changes: dict[str, str], options: tuple[str, ...], said: str
) -> None:
    with process(environment | changes, *options) as server:
        out, error = server.communicate(timeout=START_SECONDS)
    assert server.returncode == 2
    assert (out, error.count("\n")) == ("", 1)
    assert said in error


def test_another_schema_is_refused_with_advice(
    environment: dict[str, str], database_url: str
) -> None:
    downgrade(database_url)
    with process(environment) as server:
        _, error = server.communicate(timeout=START_SECONDS)
    assert server.returncode == 1
    assert "Run quire migrate" in error
    assert "Traceback" not in error


def test_an_unreachable_database_prints_one_line(environment: dict[str, str]) -> None:
    nowhere = {"DATABASE_URL": "postgresql://quire:a-password@127.0.0.1:1/quire"}
    with process(environment | nowhere) as server:
        _, error = server.communicate(timeout=START_SECONDS)
    assert server.returncode == 1
    assert json.loads(error)["event"].startswith("DATABASE_URL: the database can't be reached")
    assert "a-password" not in error


def test_a_port_in_use_stops_the_server(environment: dict[str, str]) -> None:
    with process(environment, "--port", "0") as first:
        port = address(first).rpartition(":")[2]
        with process(environment, "--port", port) as second:
            _, error = second.communicate(timeout=START_SECONDS)
        assert second.returncode != 0
        assert f"127.0.0.1:{port}" in error.replace("'", "").replace(", ", ":")
        first.send_signal(signal.SIGTERM)
        assert first.wait(STOP_SECONDS) == 0


def test_an_invalid_proxy_is_named(environment: dict[str, str]) -> None:
    with process(environment | {"QUIRE_TRUSTED_PROXIES": "proxy.example"}) as server:
        _, error = server.communicate(timeout=START_SECONDS)
    assert server.returncode == 2
    assert "QUIRE_TRUSTED_PROXIES is 'proxy.example'" in error
