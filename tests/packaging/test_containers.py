"""CI runs the containers for real, or says why this machine can't."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.packaging.project import ROOT

NOBODY = 65534


def test_it_is_a_stage_of_ci_and_a_make_target() -> None:
    assert "stage containers containers_end\nstop_if_failed" in (ROOT / ".ci" / "run").read_text()
    assert "\n\t@.ci/containers\n" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_without_root_it_is_skipped_with_the_reason_and_fails_ci(ci: str, code: int) -> None:
    # Not pytest's own folder, which only this user can enter.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "containers", Path(folder) / ".ci")
        ran = subprocess.run(
            ["bash", f"{folder}/.ci/containers"],
            env={"PATH": os.environ["PATH"], "CI": ci},
            user=NOBODY if os.geteuid() == 0 else None,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (ran.returncode, ran.stdout) == (code, "containers: skipped: this needs root\n")
