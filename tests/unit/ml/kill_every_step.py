"""Trains a small network and kills itself after its first step; run by a test, again and again.

``python -m tests.unit.ml.kill_every_step FILE TEXT``: FILE holds the training so far.
"""

import os
import signal
import sys
from pathlib import Path

from tests.unit.ml.conftest import small_config
from worker.ml.checkpoint import pack, unpack
from worker.ml.training.trainer import Trainer
from worker.ml.vectorize import vectorize


def trainer(text: str, path: Path) -> Trainer:
    """The training, resumed from its file if there is one."""
    vocabulary, ids = vectorize(text)
    config = small_config("default", len(vocabulary), batch_size=40, validate_every=1, dropout=0.2)
    state = unpack(path.read_bytes()) if path.exists() else None
    return Trainer(config, ids, vocabulary, state=state)


if __name__ == "__main__":
    place, text_path = Path(sys.argv[1]), Path(sys.argv[2])
    going = trainer(text_path.read_text(), place)
    for _event in going.run():
        whole = place.with_suffix(".new")
        whole.write_bytes(pack(going.state()))
        whole.replace(place)
        os.kill(os.getpid(), signal.SIGKILL)
