"""The health check finds the part that runs here by its title, and asks it."""

from pathlib import Path

import pytest

from shared.process.health import api_problem, running_api, running_supervisor
from tests.e2e.home import free_port
from tests.quire.conftest import Served


def processes(proc: Path, *titles: bytes) -> Path:
    for number, title in enumerate(titles, 1):
        (proc / str(number)).mkdir()
        (proc / str(number) / "cmdline").write_bytes(title)
    (proc / "99").mkdir()  # it has ended
    return proc


@pytest.mark.parametrize(
    ("title", "address"),
    [
        (b"quire: api 0.0.0.0:8420\0\0\0", "127.0.0.1:8420"),
        (b"quire: api [::]:80 (worker)\0", "[::1]:80"),
        (b"quire: api 10.0.0.7:9000\0", "10.0.0.7:9000"),
        (b"quire: supervisor api\0", None),
        (b"grep\0quire: api 0.0.0.0:1\0", None),
    ],
)
def test_the_api_is_found_where_it_listens(
    tmp_path: Path, title: bytes, address: str | None
) -> None:
    assert (
        running_api(processes(tmp_path, b"/sbin/docker-init\0--\0quire\0api\0", title)) == address
    )


def test_the_workers_are_found_under_their_name(tmp_path: Path) -> None:
    found = processes(tmp_path, b"quire: supervisor my host\0\0", b"quire: train my host\0")
    assert running_supervisor(found) == "my host"
    assert running_api(found) is None


def test_a_ready_api_is_healthy(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert api_problem(served.url.removeprefix("http://")) is None


def test_an_api_that_does_not_answer_is_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    assert f"{address} does not answer" in str(api_problem(address))
