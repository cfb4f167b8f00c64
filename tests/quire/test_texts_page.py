"""The examples of docs/texts.md do what the page says."""

import re
import subprocess
from pathlib import Path

import pytest

from quire.main import run
from tests.quire.conftest import Served

PAGE = Path(__file__).parents[2] / "docs" / "texts.md"


def test_every_example_of_the_page(
    served: Served,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    served.world.model(served.ann, name="poet")
    monkeypatch.chdir(tmp_path)
    lines = "\n".join(re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)).split("\n")
    commands = 0
    said = ""
    for line in filter(None, lines):
        if not line.startswith("$ "):
            assert line in said, commands
        elif line.startswith("$ quire "):
            # The shell expands $'…' as it does for a reader.
            words = subprocess.run(
                ["bash", "-c", f"printf '%s\\0' {line.removeprefix('$ quire ')}"],
                capture_output=True,
                check=True,
            ).stdout.decode()
            run(words.split("\0")[:-1])
            captured = capsys.readouterr()
            said = captured.out + captured.err
            commands += 1
        else:
            subprocess.run(["bash", "-c", line.removeprefix("$ ")], check=True)
    assert commands > 15
