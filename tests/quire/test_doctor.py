"""`quire doctor` finds each kind of fault, names a repair, and exits accordingly."""

import json
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text, update

from migrations.migrate import downgrade, upgrade
from quire.main import run
from shared import blobs
from shared.broker import MAX_WAITING_WAKES, Broker
from shared.clock import database_now
from shared.database import make_engine
from shared.ids import new_id
from shared.tables import Blob, Device, User
from shared.upsert import insert_or_replace
from shared.worker_registry import WorkerInfo, row_values
from tests.e2e.home import free_port
from tests.quire.conftest import Served
from tests.worker.harness import make_harness

Look = Callable[[], tuple[int, dict[str, list[dict[str, Any]]]]]


@pytest.fixture
def look(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    database_url: str,
    redis_url: str,
    tmp_path: Path,
) -> Look:
    """Run it on a database and a Redis; returns the exit code and the findings by check."""
    (tmp_path / "data").mkdir(mode=0o700)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("QUIRE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("QUIRE_API_PORT", str(free_port()))
    monkeypatch.setenv("QUIRE_MIN_FREE_BYTES", "1000")

    def run_it() -> tuple[int, dict[str, list[dict[str, Any]]]]:
        capsys.readouterr()
        code = run(["doctor", "--json"])
        found: dict[str, list[dict[str, Any]]] = {}
        for finding in json.loads(capsys.readouterr().out):
            found.setdefault(finding["check"], []).append(finding)
        return code, found

    return run_it


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


def add_workers(engine: Engine, **versions: str) -> None:
    with engine.begin() as connection:
        now = database_now(connection)
        for host, version in (versions or {"a": "1"}).items():
            for lane in ("train", "generate"):
                worker = WorkerInfo(host, "cpu", lane, 1, {"quire": version})  # type: ignore[arg-type]
                insert_or_replace(connection, Device, row_values(worker, now, ready=True))


def level(findings: dict[str, list[dict[str, Any]]], check: str) -> set[str]:
    return {finding["level"] for finding in findings[check]}


def test_all_is_well(look: Look, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    add_workers(engine)
    code, found = look()
    bad = [each for some in found.values() for each in some if each["level"] != "ok"]
    assert (code, bad) == (0, [])
    assert {
        "python", "settings", "port", "data directory", "disk", "database", "redis", "messages",
        "workers", "versions", "clocks", "keys", "bytes",
    } <= set(found)  # fmt: skip
    assert run(["doctor"]) == 0
    assert "✓ database" in capsys.readouterr().out


def test_workers(look: Look, engine: Engine) -> None:
    code, found = look()
    assert (code, level(found, "workers")) == (1, {"warning"})
    add_workers(engine, a="1", b="2")
    code, found = look()
    assert (code, level(found, "versions")) == (1, {"warning"})
    with engine.begin() as connection:
        now = database_now(connection)
        old = now - timedelta(hours=1)
        connection.execute(
            update(Device).where(Device.id == "b/cpu/train").values(
                heartbeat_at=old, instance_seen_at=now
            )
        )  # fmt: skip
        connection.execute(
            update(Device).where(Device.id == "b/cpu/generate").values(heartbeat_at=old)
        )
    code, found = look()
    details = {each["level"]: each["detail"] for each in found["workers"]}
    assert code == 2
    assert details["error"].startswith("b/cpu/train has a supervisor and no child")
    assert details["warning"].startswith("b/cpu/generate was heard of last")


def test_bytes_and_keys(look: Look, engine: Engine, database_url: str, tmp_path: Path) -> None:
    add_workers(engine)
    harness = make_harness(database_url, "redis://nowhere", tmp_path)
    harness.corpus("line\n" * 500_000)
    assert level(look()[1], "bytes") == {"ok"}
    blobs.store(engine, b"left over")
    with engine.begin() as connection:
        old = database_now(connection) - timedelta(hours=5)
        connection.execute(update(Blob).values(touched_at=old))
    code, found = look()
    assert (code, level(found, "bytes")) == (1, {"warning"})
    assert "quire gc" in found["bytes"][0]["repair"]
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM blob_chunks WHERE position = 1"))
    code, found = look()
    assert (code, "error" in level(found, "bytes")) == (2, True)
    with engine.begin() as connection:
        connection.execute(update(User).values(role="admin", disabled_at=old))
    assert "no active admin" in look()[1]["keys"][0]["detail"]
    harness.engine.dispose()


def test_messages(look: Look, engine: Engine, redis_url: str) -> None:
    add_workers(engine)
    with redis.Redis.from_url(redis_url) as client:
        for _ in range(3):
            assert Broker(redis_url).wake("train", new_id())
        code, found = look()
        assert (code, found["messages"][0]["detail"]) == (0, "3 wakes wait")
        client.lpush("train", b"hello", b'{"headers": {"task": "mail.send"}}')
        client.set("sessions:42", "x")
        code, found = look()
        assert code == 1
        assert found["messages"][0]["detail"].startswith("2 messages are not Quire's")
        assert "sessions:42" in found["redis"][1]["detail"]
        client.lpush("generate", *[b"{}"] * (MAX_WAITING_WAKES + 1))
        assert "nobody takes them" in look()[1]["messages"][0]["detail"]


def test_what_is_away_or_taken(look: Look, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    add_workers(engine)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    code, found = look()
    assert (code, level(found, "redis")) == (2, {"error"})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.settimeout(10)
        monkeypatch.setenv("QUIRE_API_PORT", str(port))
        monkeypatch.setattr("quire.server.doctor.machine.ANSWER_SECONDS", 0.2)
        code, found = look()
        assert (code, level(found, "port")) == (2, {"error"})
    monkeypatch.setenv("QUIRE_API_PORT", "0")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    code, found = look()
    assert (code, level(found, "database")) == (2, {"error"})


def test_the_schema(look: Look, engine: Engine, database_url: str) -> None:
    engine.dispose()
    downgrade(database_url, "0011")
    code, found = look()
    assert (code, found["schema"][0]["repair"]) == (2, "quire migrate")
    upgrade(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    code, found = look()
    assert (code, "newer version" in found["schema"][0]["detail"]) == (2, True)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_postgresql_that_forgets_commits(look: Look, engine: Engine, database_url: str) -> None:
    add_workers(engine)
    assert level(look()[1], "database") == {"ok"}
    name = engine.url.database
    with engine.begin() as connection:
        connection.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit = off'))
    engine.dispose()
    code, found = look()
    assert (code, level(found, "database")) == (1, {"warning"})
    assert "synchronous_commit = on" in found["database"][0]["repair"]


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"QUIRE_METRICS_PORT": "8420", "QUIRE_API_PORT": "8420"}, "QUIRE_METRICS_PORT"),
        ({"QUIRE_HUNG_SECONDS": "50"}, "QUIRE_HUNG_SECONDS"),
        ({"QUIRE_SWEEP_SECONDS": "100"}, "QUIRE_SWEEP_SECONDS"),
        ({"QUIRE_MAX_CORPORA_BYTES_PER_USER": "2000"}, "QUIRE_MAX_CORPUS_BYTES"),
        ({"QUIRE_MAX_STORED_BYTES_PER_USER": "2000"}, "QUIRE_MAX_STORED_BYTES_PER_USER"),
        ({"QUIRE_TRAIN_MEMORY_BYTES": str(2**45)}, "QUIRE_TRAIN_MEMORY_BYTES"),
        ({"QUIRE_GPU_MEMORY_SHARE": "0.8"}, "QUIRE_GPU_MEMORY_SHARE"),
        ({"QUIRE_API_HOST": "0.0.0.0"}, "QUIRE_TRUSTED_PROXIES"),  # noqa: S104 - not bound
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_contradict_each_other(
    sqlite_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    named: str,
) -> None:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("QUIRE_DATA_DIR", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run(["doctor", "--json"]) in (1, 2)
    findings = json.loads(capsys.readouterr().out)
    [found] = [each for each in findings if each["check"] == "settings"]
    assert (found["level"], named in found["detail"], bool(found["repair"])) == (
        "warning", True, True,
    )  # fmt: skip


def test_settings_that_are_invalid(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUIRE_LEASE_SECONDS", "1")
    assert run(["doctor"]) == 2
    shown = capsys.readouterr().out
    assert "✗ settings" in shown
    assert "QUIRE_LEASE_SECONDS" in shown


def test_a_server_from_outside(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_workers(served.world.engine)
    assert run(["doctor", "--server"]) == 0, capsys.readouterr().out
    assert "✓ redis" in capsys.readouterr().out
    monkeypatch.setenv("QUIRE_KEY", "quire_nonsense_nonsense")
    assert run(["doctor", "--server", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [each["check"] for each in found if each["level"] == "error"] == ["key"]
    monkeypatch.setenv("QUIRE_URL", "http://127.0.0.1:1")
    assert run(["doctor", "--server"]) == 2
    assert "✗ server" in capsys.readouterr().out
