"""``kill -9`` after every step of a training: the result is that of an undisturbed training."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.ml.kill_every_step import trainer
from worker.ml.checkpoint import digest, unpack


@pytest.mark.slow
def test_a_training_killed_after_every_step_ends_the_same(english: str, tmp_path: Path) -> None:
    text_path, place = tmp_path / "text", tmp_path / "training"
    text_path.write_text(english[:1500])
    undisturbed = trainer(english[:1500], tmp_path / "none")
    for _event in undisturbed.run():
        pass
    kills = 0
    program = [sys.executable, "-m", "tests.unit.ml.kill_every_step", str(place), str(text_path)]
    while True:
        ended = subprocess.run(program, check=False, capture_output=True, text=True)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        kills += 1
        assert unpack(place.read_bytes()).meta["step"] == kills
    assert kills == undisturbed.step > 4
    assert digest(unpack(place.read_bytes())) == digest(undisturbed.state())
