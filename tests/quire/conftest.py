"""A real API for the real command line, and jobs whose worker is the test itself."""

import math
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from werkzeug.serving import make_server

from api.app import create_app
from api.services import EXTENSION
from quire.client import Client
from quire.terminal.console import SafeConsole
from shared.broker import Broker
from shared.database import make_engine
from shared.queue import Queue
from shared.queue.types import Claim, ProgressReport
from tests.api.conftest import settings_for
from tests.api.harness import ApiHarness, Person, record

STEPS_PER_EPOCH = 100
EPOCHS = 4
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
CRUEL = "</p><script>alert('it')</script> & the \"end\" <b>"


@dataclass
class Served:
    """A running server, a user, and the operations of a worker."""

    url: str
    world: ApiHarness
    ann: Person

    def train(self, **fields: object) -> Claim:
        """Submit a training and claim it."""
        corpus = self.ann.upload()
        job = self.ann.train(corpus, preset="classic", epochs=EPOCHS, name="poet", **fields)
        return self.world.claim(job["id"])

    def point(
        self,
        claim: Claim,
        step: int,
        loss: float,
        val_loss: float | None = None,
        piece_losses: Sequence[float | None] | None = None,
    ) -> None:
        """Record a point of the loss curves."""
        epoch = step / STEPS_PER_EPOCH
        total = STEPS_PER_EPOCH * EPOCHS
        bits = None if val_loss is None else val_loss / math.log(2)
        progress = ProgressReport(
            step, total, epoch, EPOCHS, loss, val_loss, 0.01, 9_000.0, 20.0, bits
        )
        self.world.queue.record_progress(
            claim, progress, validated=val_loss is not None, piece_losses=piece_losses
        )

    def epoch(self, claim: Claim, number: int) -> None:
        """Record an epoch: three points, a checkpoint and two texts."""
        end = number * STEPS_PER_EPOCH
        self.point(claim, end - 50, 3.0 - number / 2)
        self.point(claim, end - 10, 2.9 - number / 2)
        self.point(claim, end, 3.1 - number / 2, val_loss=1.5 + abs(number - 2) / 10)
        checkpoint = self.world.checkpoint(claim, end, 1.5 + abs(number - 2) / 10)
        texts = [
            record(i, f"epoch {number} at {heat} {CRUEL}", checkpoint, heat, requested=False,
                   step=end, epoch=float(number))
            for i, heat in enumerate((0.2, 0.5))
        ]  # fmt: skip
        self.world.queue.record_texts(claim, texts)


@pytest.fixture
def served(
    sqlite_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Served]:
    """The server; `quire` in this process and its children is logged in as ann."""
    settings = settings_for(sqlite_url, redis_url, tmp_path)
    engine = make_engine(sqlite_url)
    app = create_app(settings, engine, Broker(redis_url))
    world = ApiHarness(app, engine, Queue(engine, settings))
    ann = world.person("ann")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("QUIRE_URL", url)
    monkeypatch.setenv("QUIRE_KEY", ann.key)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    try:
        # The server's log would mix with the output of the command.
        with capture_logs():
            yield Served(url, world, ann)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        app.extensions[EXTENSION].close()


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url, served.ann.key) as client:
        yield client


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """The output to a terminal of 100 columns and 30 rows."""
    sent = StringIO()
    console = SafeConsole(file=sent, force_terminal=True, width=100, height=30)
    monkeypatch.setattr("quire.watch.streaming.out", console)
    monkeypatch.setattr("quire.terminal.console.out", console)
    monkeypatch.setattr("quire.terminal.texts.out", console)
    return sent


def lines_of(screen: StringIO) -> list[str]:
    """The lines of the output, without colours and cursor movements."""
    return ESCAPES.sub("", screen.getvalue()).splitlines()
