"""A backup holds everything, and comes back on either database."""

import json
import stat
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, inspect, select, text

from migrations.migrate import current, newest, upgrade
from quire.errors import ExitCode
from quire.main import run
from quire.server.backup.making import make_backup
from quire.server.backup.restoring import restore_backup
from quire.server.backup.source import LEFT_OUT
from quire.server.backup.verifying import verify_backup
from shared import blobs, sqlite_connections
from shared.clock import database_now
from shared.database import make_engine, make_sessions
from shared.queue import Queue
from shared.settings import Settings, load_settings
from shared.tables import (
    CHUNK_BYTES,
    Base,
    Blob,
    Corpus,
    Job,
    JobEvent,
    PageSession,
    SignInLink,
    User,
)
from tests.backup.conftest import Full, contents

#: What a restore changes of the job that ran: it waits in the queue again.
REQUEUED = {"status", "lease_expires_at", "fruitless_attempts", "ran_seconds"}
WRITER_SECONDS = 5.0


def test_everything_comes_back_on_the_other_kind_of_database(
    full: Full, elsewhere: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "server.backup"
    before = contents(full.url)
    made = make_backup(full.url, file)
    assert contents(full.url) == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert verify_backup(file) == made.manifest
    restored = restore_backup(file, elsewhere)
    assert (restored.revision, restored.requeued) == (newest(), 1)
    after = contents(elsewhere.database)
    for name, rows in before.items():
        if name in ("jobs", "job_events", "users"):
            continue
        assert after[name] == rows, name
    _assert_requeued(full, elsewhere, before, after)
    engine = make_engine(elsewhere.database)
    with make_sessions(engine)() as session:
        for sha256, size in session.execute(select(Blob.sha256, Blob.size_bytes)):
            assert len(blobs.load(engine, sha256)) == size
        assert session.scalar(select(func.max(Blob.size_bytes))) > CHUNK_BYTES
        assert session.scalar(select(func.count()).select_from(PageSession)) == 0
        assert session.scalar(select(func.count()).select_from(SignInLink)) == 0
    engine.dispose()


def _assert_requeued(
    full: Full, elsewhere: Settings, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Check that the restored server claims the job that ran, whose history goes on."""
    columns = [column.name for column in Job.__table__.columns]
    jobs = [{row[0]: dict(zip(columns, row, strict=True)) for row in rows["jobs"]}
            for rows in (before, after)]  # fmt: skip
    assert jobs[0].keys() == jobs[1].keys()
    for job_id, job in jobs[0].items():
        changed = {name for name, value in job.items() if jobs[1][job_id][name] != value}
        assert changed <= (REQUEUED if job_id == full.running else set()), job["name"]
    assert jobs[1][full.running]["status"] == "queued"
    # A checkpoint was written, so that the attempt counts as none.
    assert jobs[1][full.running]["fruitless_attempts"] == 0
    engine = make_engine(elsewhere.database)
    [claim] = Queue(engine, elsewhere).claim("train", "there/cpu/train")
    assert (claim.job_id, claim.attempt) == (full.running, 2)
    with make_sessions(engine)() as session:
        events = session.scalars(
            select(JobEvent).where(JobEvent.job_id == full.running).order_by(JobEvent.id)
        ).all()
        assert [event.type for event in events[-2:]] == ["queued", "claimed"]
        assert events[-2].data["reason"] == "restored"
        assert len(set(session.scalars(select(JobEvent.id)))) == len(after["job_events"]) + 1
    engine.dispose()


def test_every_table_is_in_it_or_named_as_left_out(full: Full, tmp_path: Path) -> None:
    manifest = make_backup(full.url, tmp_path / "b").manifest
    in_it = {table.name for table in manifest.tables}
    assert in_it | set(manifest.left_out) == set(Base.metadata.tables) | {"alembic_version"}
    assert in_it.isdisjoint(LEFT_OUT)
    assert {"users", "api_keys", "texts", "metrics", "audit_events", "memberships"} <= in_it
    # Any tar reads it, and the secrets of browsers are nowhere in it.
    with tarfile.open(tmp_path / "b") as tar:
        names = tar.getnames()
    assert names[-2:] == ["manifest.json", "manifest.sha256"]
    assert not any("sessions" in name or "sign_in" in name for name in names)


@pytest.fixture(params=["WAL", "TRUNCATE", "postgresql"])
def busy_url(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """A database with some rows and bytes, in either journal mode of SQLite or on PostgreSQL."""
    if request.param == "postgresql":
        with request.getfixturevalue("migrated_postgres").fresh() as url:
            yield url
        return
    monkeypatch.setattr(sqlite_connections, "journal_mode", lambda: request.param)
    path = tmp_path / "busy.db"
    path.write_bytes(request.getfixturevalue("migrated_sqlite").read_bytes())
    yield f"sqlite:///{path}"


def test_writers_go_on_and_what_they_delete_is_wholly_there_or_not(
    busy_url: str, tmp_path: Path
) -> None:
    engine = make_engine(busy_url)
    with make_sessions(engine).begin() as session:
        session.add(
            user := User(name="ada", role="member", created_at=database_now(session.connection()))
        )
        session.flush()
        user_id = user.id
    for number in range(15):
        _add_corpus(engine, user_id, number)
    stop, waits = threading.Event(), [0.0]

    def write() -> None:
        number = 1000
        while not stop.is_set():
            began = time.monotonic()
            added = _add_corpus(engine, user_id, number)
            waits.append(time.monotonic() - began)
            _delete_oldest_corpus(engine)
            assert added
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        make_backup(busy_url, tmp_path / "busy.backup")
    finally:
        stop.set()
        writer.join()
    assert len(waits) > 1, "nothing was written during the backup"
    assert max(waits) < WRITER_SECONDS
    if not busy_url.startswith("postgresql"):
        with engine.connect() as connection:
            mode = connection.execute(text("PRAGMA journal_mode")).scalar()
        assert mode == sqlite_connections.journal_mode().lower()
    engine.dispose()
    verify_backup(tmp_path / "busy.backup")
    target = load_settings(data_dir=tmp_path / "quiet")
    restore_backup(tmp_path / "busy.backup", target)
    restored = make_engine(target.database)
    with make_sessions(restored)() as session:
        assert session.execute(text("PRAGMA foreign_key_check")).all() == []
        found = session.scalars(select(Corpus)).all()
        assert len(found) >= 10
        for corpus in found:
            assert len(blobs.load(restored, corpus.sha256)) == corpus.bytes
    restored.dispose()


def _add_corpus(engine: Any, user_id: str, number: int) -> str:
    data = f"{number} ".encode() * 300_000
    with blobs.stored(engine, data) as sha256, make_sessions(engine).begin() as session:
        blobs.publish(session.connection(), sha256)
        session.add(
            corpus := Corpus(
                user_id=user_id,
                name=str(number),
                sha256=sha256,
                encoding="utf-8",
                bytes=len(data),
                characters=len(data),
                alphabet=" 0123456789",
                alphabet_lowercase=" 0123456789",
                distinct_characters=11,
                created_at=database_now(session.connection()),
            )
        )
        session.flush()
        return corpus.id


def _delete_oldest_corpus(engine: Any) -> None:
    with make_sessions(engine).begin() as session:
        corpus = session.scalars(select(Corpus).order_by(Corpus.created_at).limit(1)).one()
        leftover = blobs.Leftover(corpus.sha256, corpus.created_at)
        session.delete(corpus)
    assert blobs.drop(engine, [leftover]) == 1


def test_what_is_older_is_migrated(empty_database_url: str, tmp_path: Path) -> None:
    upgrade(empty_database_url, "0011")
    engine = make_engine(empty_database_url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO users (id, name, role, created_at) VALUES "
                "('01890a5d-ac96-774b-bcce-b302099a8057', 'ada', 'admin', '2026-01-01 00:00:00')"
            )
            if engine.dialect.name == "postgresql"
            else text(
                "INSERT INTO users (id, name, role, created_at) VALUES "
                "('01890a5dac96774bbcceb302099a8057', 'ada', 'admin', '2026-01-01 00:00:00.000000')"
            )
        )
    assert "scopes" not in {c["name"] for c in inspect(engine).get_columns("api_keys")}
    engine.dispose()
    assert make_backup(empty_database_url, tmp_path / "old").manifest.schema_revision == "0011"
    target = load_settings(data_dir=tmp_path / "new")
    assert restore_backup(tmp_path / "old", target).revision == newest()
    assert current(target.database) == newest()
    engine = make_engine(target.database)
    with make_sessions(engine)() as session:
        assert session.scalars(select(User)).one().name == "ada"
    engine.dispose()


def test_bytes_that_are_damaged_are_kept_and_named(
    full: Full, elsewhere: Settings, tmp_path: Path
) -> None:
    engine = full.world.engine
    with engine.begin() as connection:
        sha256 = connection.execute(text("SELECT sha256 FROM checkpoints LIMIT 1")).scalar_one()
        connection.execute(
            text("UPDATE blob_chunks SET data = :bad WHERE sha256 = :sha256"),
            {"bad": b"rotten", "sha256": sha256},
        )
    made = make_backup(full.url, tmp_path / "b")
    assert made.manifest.blobs.damaged == [sha256]
    assert verify_backup(tmp_path / "b").blobs.damaged == [sha256]
    restore_backup(tmp_path / "b", elsewhere)


def test_the_command_line(
    full: Full, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", full.url)
    file = str(tmp_path / "b")
    assert run(["backup", file, "--json"]) == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert (shown["rows"]["users"], shown["damaged_blobs"]) == (1, [])
    assert run(["backup", "verify", file]) == ExitCode.OK
    assert "1 users" in capsys.readouterr().err
    assert run(["backup", file]) == ExitCode.USAGE
    assert "exists: give a new name" in capsys.readouterr().err
    new = tmp_path / "new dir"
    assert run(["restore", file, "--data-dir", str(new)]) == ExitCode.OK
    assert "1 running jobs are in the queue again" in capsys.readouterr().err
    assert stat.S_IMODE((new / "quire.db").stat().st_mode) == 0o600
    assert contents(f"sqlite:///{new}/quire.db")["texts"] == contents(full.url)["texts"]
    assert run(["restore", file, "--data-dir", str(new)]) == ExitCode.UNREACHABLE
    assert "not empty (table" in capsys.readouterr().err
    # The directory that is given counts, not the variable.
    assert run(["backup", f"{file}2", "--data-dir", str(tmp_path / "none")]) == 5
    assert "there is no database at" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
