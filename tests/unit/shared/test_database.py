"""The driver of SQLite: its own library, whatever else a process has loaded; and what it syncs."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from shared.database import journal_mode, make_engine, unsynced

ASK = "print(sqlite.connect(':memory:').execute('SELECT sqlite_version()').fetchone()[0])"


def version(first: str) -> str:
    """What a fresh process says, which runs something before it imports the driver."""
    code = f"{first}\nfrom shared.database import sqlite\n{ASK}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("first", ["import tensorflow", "import sqlite3, tensorflow"])
def test_tensorflow_brings_no_other_sqlite(first: str) -> None:
    assert version(first) == version("")


def test_only_an_unsynced_transaction_leaves_its_commit_to_the_next_one(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'quire.db'}", pool_size=1)

    def level(of: Engine) -> int:
        with of.begin() as connection:
            return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    normal = 1 if journal_mode() == "WAL" else 2
    assert [level(engine), level(unsynced(engine)), level(engine)] == [2, normal, 2]
    with pytest.raises(ZeroDivisionError), unsynced(engine).begin():
        raise ZeroDivisionError
    assert level(engine) == 2, "after a rollback, too"
    engine.dispose()
