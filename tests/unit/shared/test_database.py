"""SQLite: its own library, whatever else a process has loaded; what it syncs, and how it waits."""

import os
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from shared.database import flush, make_engine, writing
from shared.sqlite_connections import journal_mode

ASK = "print(sqlite.connect(':memory:').execute('SELECT sqlite_version()').fetchone()[0])"


def version(first: str) -> str:
    """What a fresh process says, which runs something before it imports the driver."""
    code = f"{first}\nfrom shared.sqlite_connections import sqlite\n{ASK}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("first", ["import tensorflow", "import sqlite3, tensorflow"])
def test_tensorflow_brings_no_other_sqlite(first: str) -> None:
    assert version(first) == version("")


def test_only_an_unsynced_transaction_leaves_its_commit_to_the_next_one(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'quire.db'}", pool_size=1)

    def level(transaction: AbstractContextManager[Connection]) -> int:
        with transaction as connection:
            return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    normal = 1 if journal_mode() == "WAL" else 2
    for _ in range(2):
        assert level(engine.begin()) == 2
        assert level(writing(engine)) == 2
        assert level(writing(engine, synced=False)) == normal
    with pytest.raises(ZeroDivisionError), writing(engine, synced=False):
        raise ZeroDivisionError
    assert level(engine.begin()) == level(writing(engine)) == 2, "after a rollback, too"
    engine.dispose()


def test_a_flush_waits_for_the_log_of_what_did_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "quire.db"
    engine = make_engine(f"sqlite:///{path}")
    with writing(engine, synced=False) as connection:
        connection.exec_driver_sql("CREATE TABLE seen (number INTEGER)")
    flushed: list[os.stat_result] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    flush(engine)
    if journal_mode() == "WAL":
        [log] = flushed
        assert os.path.samestat(log, Path(f"{path}-wal").stat())
        assert log.st_size > 0
    # The last connection copies the log into the database, and deletes it.
    engine.dispose()
    flush(engine)


def test_a_writer_waits_for_another_process_and_no_longer_than_its_time_out(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'quire.db'}"
    # Engines of their own stand for two processes: no lock in memory is shared.
    one, two = make_engine(url), make_engine(f"{url}?timeout=0.2")
    with one.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE seen (number INTEGER)")
    held = one.connect()
    held.begin()
    held.exec_driver_sql("INSERT INTO seen VALUES (1)")
    began = time.monotonic()
    with pytest.raises(OperationalError, match="database is locked"), two.begin():
        pass
    assert 0.2 <= time.monotonic() - began < 10
    threading.Timer(0.05, held.commit).start()
    with two.begin() as connection:
        assert connection.exec_driver_sql("SELECT number FROM seen").scalar_one() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 200
    held.close()
    one.dispose()
    two.dispose()
