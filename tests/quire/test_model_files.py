"""`quire model export` and `quire model import`."""

import json
from pathlib import Path

import pytest

from quire.client import Client
from quire.errors import ExitCode
from quire.main import run
from tests.api.exported import trained
from tests.quire.conftest import Served


def test_a_model_goes_to_a_file_and_comes_back(
    served: Served, client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained(served.world, served.ann, name="letters")
    path = tmp_path / "letters.safetensors"
    assert run(["model", "export", "letters", "--output", str(path)]) == 0
    assert capsys.readouterr().out.startswith(str(path))
    assert run(["model", "export", "letters", "--output", str(path)]) == ExitCode.USAGE
    assert "--force" in capsys.readouterr().err
    light = ["model", "export", model["id"], "--no-optimizer", "--force", "--json"]
    whole = path.stat().st_size
    assert run([*light, "--output", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == path.stat().st_size < whole / 2
    assert run(["model", "import", str(path), "--name", "copied"]) == 0
    name, id = capsys.readouterr().out.split()
    assert name == "copied"
    assert client.model(id).origin["optimizer"] is False
    assert run(["model", "import", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "letters"


def test_a_file_that_is_none_is_refused(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["model", "import", str(tmp_path / "nothing")]) == ExitCode.USAGE
    assert "is not a file" in capsys.readouterr().err
    path = tmp_path / "text"
    path.write_text("It was a bright cold day in April.")
    assert run(["model", "import", str(path)]) != 0
    assert "header" in capsys.readouterr().err
    assert run(["model", "export", "nobody"]) != 0
    assert "nobody" in capsys.readouterr().err
