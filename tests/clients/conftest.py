"""A real server with a model, and the environment in which clients find it."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import without
from tests.e2e.home import ROOT, TEXT, TINY, Home

CLIENTS = ROOT / ".clients"
#: A client imports thousands of modules, and its text waits in line.
PROGRAM_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients' programs, and a server that they are pointed at.

    Attributes:
        url: Of `/openai/v1`.
        key: An API key.
        environment: What a program is given.
    """

    url: str
    key: str
    environment: dict[str, str]

    def run(self, *arguments: str | Path, code: int = 0) -> str:
        """Run a program to its end, and return what it prints."""
        done = subprocess.run(
            arguments,
            env=self.environment,
            cwd=self.environment["HOME"],
            capture_output=True,
            text=True,
            timeout=PROGRAM_SECONDS,
            check=False,
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def python(self, *arguments: str | Path) -> str:
        """Run a Python program in the clients' environment."""
        return self.run(CLIENTS / "bin" / "python", "-W", "error::ResourceWarning", *arguments)

    def shell(self, *arguments: str | Path) -> str:
        """Run a shell, which ends at the first failure."""
        return self.run("bash", "-eu", "-o", "pipefail", *arguments)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A running server, whose admin has a model of characters and one of words."""
    home = Home(tmp_path_factory.mktemp("home"))
    (home.path / "fox.txt").write_text(TEXT)
    with home.up():
        fox = ["train", "--corpus", str(home.path / "fox.txt"), *TINY, "--wait"]
        home.quire(*fox, "--name", "fox")
        home.quire(*fox, "--name", "words", "--tokenizer", "word")
        yield home


@pytest.fixture
def clients(home: Home, tmp_path: Path) -> Clients:
    """The clients, in a home directory of their own."""
    if not (CLIENTS / ".packages").exists():
        without("no clients: run `make clients`")
    key = (home.data_dir / "admin.key").read_text().strip()
    url = f"http://127.0.0.1:{home.port}/openai/v1"
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{CLIENTS / 'bin'}:{os.environ['PATH']}",
        "LLM_USER_PATH": str(tmp_path / "llm"),
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY": key,
        # It would fetch its list of prices when it is imported.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    return Clients(url, key, environment)
