"""The driver of SQLite: its own library, whatever else a process has loaded before."""

import subprocess
import sys

import pytest

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
