"""Backup, verify and restore hold neither the bytes nor the rows of a database in memory."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import insert

from quire.server.backup.archive import ArchiveReader
from shared.clock import database_now
from shared.database import make_engine, make_sessions
from shared.tables import CHUNK_BYTES, Blob, BlobChunk, Corpus
from tests.worker.harness import make_harness

#: More than the bound: a process that held all of it would exceed it.
STORED_BYTES = 224 * 1024 * 1024
MEMORY_BYTES = 200 * 1024 * 1024
#: Runs `quire`, and says what its process took at most, in KiB.
MEASURED = """
import sys
from pathlib import Path
from quire.main import run
code = run(sys.argv[1:])
# Unlike `ru_maxrss`, it does not count what the parent had before this program began.
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
sys.exit(code)
"""


@pytest.mark.slow
def test_memory_is_bounded_while_more_is_stored(migrated_sqlite: Path, tmp_path: Path) -> None:
    path = tmp_path / "data" / "quire.db"
    path.parent.mkdir()
    path.write_bytes(migrated_sqlite.read_bytes())
    harness = make_harness(f"sqlite:///{path}", "redis://nowhere", tmp_path)
    corpus_id = harness.corpus("a corpus")
    engine = make_engine(f"sqlite:///{path}")
    piece = os.urandom(CHUNK_BYTES)
    pieces = STORED_BYTES // CHUNK_BYTES
    sha256 = hashlib.sha256(piece * pieces).hexdigest()
    with make_sessions(engine).begin() as session:
        now = database_now(session.connection())
        session.execute(insert(Blob).values(sha256=sha256, size_bytes=STORED_BYTES, touched_at=now))
        for position in range(pieces):
            values = {"sha256": sha256, "position": position, "data": piece}
            session.execute(insert(BlobChunk).values(values))
        session.get_one(Corpus, corpus_id).sha256 = sha256
    engine.dispose()
    harness.engine.dispose()
    file = tmp_path / "large"
    for arguments in (
        ["backup", str(file), "--data-dir", str(path.parent)],
        ["backup", "verify", str(file)],
        ["restore", str(file), "--data-dir", str(tmp_path / "new")],
    ):
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        peak = int(done.stdout.split()[-1]) * 1024
        assert peak < MEMORY_BYTES, f"{arguments[0]}: {peak / 1024**2:.0f} MiB"
        print(f"{arguments[0]}: {peak / 1024**2:.0f} MiB")
    with ArchiveReader(file) as archive:
        assert archive.manifest.blobs.bytes == STORED_BYTES
