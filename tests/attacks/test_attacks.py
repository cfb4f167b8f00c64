"""No stranger, and no member, stops the server for others: each attack, and ten times of it.

The scripts that stopped an earlier server are the kinds; `tests/attacks/attackers.py` holds them.
Run alone (`make attacks`): attackers, server and witnesses share the cores.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from api.app import create_app
from shared.broker import Broker
from shared.database import make_engine
from shared.queue import Queue
from tests.api.conftest import settings_for
from tests.api.harness import ApiHarness, Person
from tests.services.redis import RedisServer

ROOT = Path(__file__).parents[2]
ATTACK_SECONDS = 7.0
#: What is promised on two quiet cores, and what other work on them may add.
HEALTH_SECONDS, MEMBER_SECONDS, TENFOLD_SECONDS, MARGIN_SECONDS = 1.0, 2.0, 3.0, 3.0
#: A text so long that its download does not fit into the buffers of a connection.
LONG_TEXT = "It is a truth universally acknowledged. " * 200_000


@dataclass(frozen=True)
class Server:
    """An API in a process of its own, and two members of it.

    Attributes:
        attacker: The environment of an attack by one of them.
        member: The key of the other one.
    """

    port: int
    attacker: dict[str, str]
    member: str

    def ask(self, path: str, key: str | None = None) -> tuple[int, float]:
        """Send one request; its status and its seconds."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        began = time.monotonic()
        with httpx2.Client(trust_env=False, timeout=10) as client:
            status = client.get(f"http://127.0.0.1:{self.port}{path}", headers=headers).status_code
        return status, time.monotonic() - began


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, redis_of_session: RedisServer
) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("attacked")
    database = directory / "quire.db"
    database.write_bytes(migrated_sqlite.read_bytes())
    url, redis_url = f"sqlite:///{database}", redis_of_session.url
    settings = settings_for(url, redis_url, directory).model_copy(
        update={"max_corpus_bytes": 2 * len(LONG_TEXT)}
    )
    engine = make_engine(url)
    harness = ApiHarness(
        create_app(settings, engine, Broker(redis_url)), engine, Queue(engine, settings)
    )
    ann, bob = harness.person("ann"), harness.person("bob")
    attacker = {"ATTACK_KEY": ann.key, **_targets(harness, ann)}
    engine.dispose()
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "REDIS_URL": redis_url,
        "QUIRE_DATA_DIR": str(directory),
        "QUIRE_LOG_FORMAT": "json",
    }
    argv = [sys.executable, "-P", "-m", "api", "--port", "0"]
    log = (directory / "api.log").open("w")
    with (
        log,
        subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "listens on" in line, (directory / "api.log").read_text()
        port = int(line.rpartition(":")[2])
        yield Server(port, attacker, bob.key)
        process.terminate()
        assert process.wait(20) == 0


def _targets(harness: ApiHarness, ann: Person) -> dict[str, str]:
    corpus = ann.upload(LONG_TEXT)
    model = harness.model(ann)
    queued = ann.post("/v1/generate", {"model": model["id"], "length": 10}).json
    return {
        "ATTACK_DOWNLOAD": f"/v1/corpora/{corpus}/text",
        "ATTACK_EVENTS": f"/v1/jobs/{queued['id']}/events",
        "ATTACK_WAIT": f'{{"model": "{model["id"]}", "length": 10}}',
    }


ATTACKS = [
    ("linger", 4),
    ("idle", 1500),
    ("slow_head", 544),
    ("body_without_key", 32),
    ("body_to_nowhere", 32),
    ("dripping_body", 32),
    ("body_with_key", 32),
    ("dripping_chunks", 32),
    ("waits", 8),
    ("unread_downloads", 544),
    ("event_streams", 512),
]


@pytest.mark.parametrize(
    ("name", "count", "times"),
    [(*attack, times) for attack in ATTACKS for times in (1, 10)],
)
def test_others_are_answered_meanwhile(server: Server, name: str, count: int, times: int) -> None:
    health, member = (
        (HEALTH_SECONDS, MEMBER_SECONDS) if times == 1 else (TENFOLD_SECONDS, TENFOLD_SECONDS)
    )
    with attack(server, name, count * times):
        until = time.monotonic() + ATTACK_SECONDS
        worst = [0.0, 0.0]
        while time.monotonic() < until:
            for i, (path, key) in enumerate([("/health/live", None), ("/v1/me", server.member)]):
                status, seconds = server.ask(path, key)
                assert status == 200
                worst[i] = max(worst[i], seconds)
            time.sleep(0.1)
    print(f"{name} x {count * times}: health {worst[0]:.3f} s, member {worst[1]:.3f} s")
    assert worst[0] < health + MARGIN_SECONDS
    assert worst[1] < member + MARGIN_SECONDS


def test_another_member_gets_seats_though_one_holds_all(server: Server) -> None:
    with attack(server, "event_streams", 600), httpx2.Client(trust_env=False, timeout=50) as client:
        url = f"http://127.0.0.1:{server.port}"
        theirs = {"Authorization": f"Bearer {server.member}"}
        corpus = client.post(
            f"{url}/v1/corpora", headers=theirs, json={"name": "b", "text": "A text. " * 2000}
        )
        job = client.post(f"{url}/v1/train", headers=theirs, json={"corpus": corpus.json()["id"]})
        path = f"{url}/v1/jobs/{job.json()['id']}/events"
        with client.stream("GET", path, headers=theirs) as events:
            assert events.status_code == 200, events.read()
            assert next(events.iter_lines()).startswith("retry")


class attack:
    """An attack in a process of its own, which is killed at the end of the block."""

    def __init__(self, server: Server, name: str, count: int) -> None:
        self._argv = [sys.executable, "-m", "tests.attacks.attackers", name]
        self._argv += [str(server.port), str(count)]
        self._environment = {**os.environ, **server.attacker}

    def __enter__(self) -> None:
        self._process = subprocess.Popen(
            self._argv, env=self._environment, cwd=ROOT, stdout=subprocess.DEVNULL
        )
        time.sleep(1.0)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
