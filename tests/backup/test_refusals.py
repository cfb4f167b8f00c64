"""What a restore refuses, and that it then changes nothing."""

import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from migrations.migrate import upgrade
from quire.errors import CannotStart, InvalidInput, QuireError
from quire.main import run
from quire.server.backup.archive import BadBackup, Manifest
from quire.server.backup.making import make_backup
from quire.server.backup.restoring import restore_backup
from quire.server.backup.verifying import verify_backup
from quire.server.data_dir import locked_data_dir
from shared.database import make_engine
from shared.settings import Settings, load_settings
from tests.services.postgres import PostgresServer
from tests.worker.harness import make_harness


@pytest.fixture(scope="module")
def file(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup with a blob of several pieces."""
    directory = tmp_path_factory.mktemp("backup")
    database = directory / "quire.db"
    database.write_bytes(migrated_sqlite.read_bytes())
    harness = make_harness(f"sqlite:///{database}", "redis://nowhere", directory)
    harness.train("".join(f"line {number}\n" for number in range(120_000)), wake=False)
    harness.engine.dispose()
    make_backup(f"sqlite:///{database}", directory / "whole")
    return directory / "whole"


@pytest.fixture
def target(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "new")


def refused(file: Path, target: Settings, error: type[QuireError]) -> str:
    """Restore a file, and check that it is refused and leaves nothing."""
    with pytest.raises(error) as caught:
        restore_backup(file, target)
    folder = Path(target.data_dir)
    assert not folder.exists() or list(folder.iterdir()) == []
    return str(caught.value)


@pytest.mark.parametrize("share", [0, 0.02, 0.3, 0.7, 0.97])
def test_a_file_that_was_cut_off(
    file: Path, target: Settings, tmp_path: Path, share: float
) -> None:
    data = file.read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BadBackup):
        verify_backup(cut)
    assert str(cut) in refused(cut, target, BadBackup)


def members(file: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(file) as tar:
        return tar.getmembers()


def test_a_byte_that_has_changed_anywhere(file: Path, target: Settings, tmp_path: Path) -> None:
    found = members(file)
    wanted = {found[0].name, found[1].name, found[-1].name, found[-2].name}
    wanted |= {name.name for name in found if name.name.startswith(("tables/users", "tables/jobs"))}
    data = file.read_bytes()
    for member in found:
        if member.name not in wanted:
            continue
        changed = bytearray(data)
        changed[member.offset_data + member.size // 2] ^= 0x10
        bad = tmp_path / "changed"
        bad.write_bytes(changed)
        with pytest.raises(BadBackup):
            verify_backup(bad)
        assert "damaged" in refused(bad, target, BadBackup), member.name


def rewritten(file: Path, path: Path, change: Callable[[Manifest], Manifest]) -> Path:
    """A copy of a backup whose manifest says something else."""
    from quire.server.backup.archive import MANIFEST, MANIFEST_SHA256, ArchiveReader, ArchiveWriter

    with ArchiveReader(file) as reader, ArchiveWriter(path) as writer:
        for member in members(file):
            if member.name not in (MANIFEST, MANIFEST_SHA256):
                writer.add(member.name, reader.read(member.name))
        writer.finish(change(reader.manifest))
    return path


def test_what_a_newer_version_made(file: Path, target: Settings, tmp_path: Path) -> None:
    newer = rewritten(
        file,
        tmp_path / "newer",
        lambda manifest: manifest.model_copy(update={"schema_revision": "9999"}),
    )
    assert "knows up to" in refused(newer, target, InvalidInput)
    other = rewritten(
        file, tmp_path / "other", lambda manifest: manifest.model_copy(update={"format": 2})
    )
    assert "format" in refused(other, target, BadBackup)


def test_what_is_no_backup(target: Settings, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("text " * 1000)
    assert "no backup" in refused(plain, target, BadBackup)
    with tarfile.open(tmp_path / "some.tar", "w") as tar:
        tar.add(plain)
    assert "no manifest" in refused(tmp_path / "some.tar", target, BadBackup)
    assert "can't be read" in refused(tmp_path / "missing", target, InvalidInput)
    assert "can't be read" in refused(tmp_path, target, InvalidInput)


def test_a_server_that_runs_on_the_directory(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked_data_dir(tmp_path / "used"):
        assert run(["restore", str(file), "--data-dir", str(tmp_path / "used")]) == 2
    assert "already running" in capsys.readouterr().err


def test_a_process_that_has_the_file_open(file: Path, target: Settings) -> None:
    upgrade(target.database)
    program = "import sys, time; f = open(sys.argv[1], 'rb'); print('open', flush=True)\ninput()"
    path = target.database.removeprefix("sqlite:///")
    with subprocess.Popen(
        [sys.executable, "-c", program, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(CannotStart, match=f"process {process.pid} uses"):
            restore_backup(file, target)
        process.communicate(b"\n")
    # It is a migrated database without rows, and free now.
    restore_backup(file, target)


@pytest.fixture
def empty_postgres(postgres: PostgresServer) -> Iterator[Settings]:
    with postgres.database("refusing") as url:
        yield load_settings(database_url=url)


def test_others_on_postgresql(file: Path, empty_postgres: Settings) -> None:
    engine = make_engine(empty_postgres.database)
    with engine.connect(), pytest.raises(CannotStart, match="1 other connections"):
        restore_backup(file, empty_postgres)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (id int)"))
    engine.dispose()
    with pytest.raises(CannotStart, match="not Quire's"):
        restore_backup(file, empty_postgres)


def test_a_failure_leaves_postgresql_empty(
    file: Path, empty_postgres: Settings, tmp_path: Path
) -> None:
    last = members(file)[0]
    data = bytearray(file.read_bytes())
    data[last.offset_data] ^= 1
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(BadBackup):
        restore_backup(tmp_path / "bad", empty_postgres)
    restore_backup(file, empty_postgres)
    with pytest.raises(CannotStart, match="not empty"):
        restore_backup(file, empty_postgres)


def test_no_room(file: Path, target: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    full = load_settings(data_dir=target.data_dir, min_free_bytes=2**50)
    assert "bytes free" in refused(file, full, CannotStart)
