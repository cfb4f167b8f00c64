"""`quire` runs its own code wherever it is started, whatever modules lie in that directory."""

import sys
from pathlib import Path

import pytest

from migrations.migrate import current, newest
from tests.e2e.home import TEXT, TINY, Home

#: Packages with the server's own names, and modules that the server or its libraries import.
PACKAGES = ("api", "worker", "shared", "migrations", "quire")
MODULES = ("json.py", "celeryconfig.py", "celery.py", "waitress.py", "alembic.py", "tensorflow.py")
TRAP = 'raise SystemExit("imported from the working directory: " + __file__)\n'


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose commands run in a directory where every import is a trap."""
    directory = tmp_path / "project"
    directory.mkdir()
    for name in PACKAGES:
        package = directory / name
        package.mkdir()
        for module in ("__init__.py", "__main__.py", "settings.py"):
            (package / module).write_text(TRAP)
    for name in MODULES:
        (directory / name).write_text(TRAP)
    (tmp_path / "fox.txt").write_text(TEXT)
    home = Home(tmp_path)
    home.program = (str(Path(sys.executable).with_name("quire")),)
    home.working_directory = directory
    return home


def test_migrate_runs_its_own_migrations(home: Home) -> None:
    url = f"sqlite:///{home.path}/migrated.db"
    home.quire("migrate", DATABASE_URL=url)
    assert current(url) == newest()


@pytest.mark.slow
def test_a_training_and_a_text(home: Home) -> None:
    fox = str(home.path / "fox.txt")
    with home.up() as up:
        trained = home.json("train", "--corpus", fox, "--name", "reynard", *TINY, "--wait")
        assert trained["status"] == "succeeded", up.output
        written = home.json("generate", "reynard", "--length", "30")
        assert len(written["texts"][0]["text"]) == 30
        titles = {" ".join(process.cmdline()).strip() for process in up.family()}
        check_titles(titles, home.port)


def check_titles(titles: set[str], port: int) -> None:
    """`ps` tells which part each process is."""
    assert f"quire: api 127.0.0.1:{port}" in titles, titles
    assert any(title.startswith("quire: supervisor ") for title in titles), titles
    for lane in ("train", "generate"):
        assert {f"quire: {lane} cpu", f"quire: {lane} cpu (child)"} <= titles, titles
