"""What uploads take of the memory of a real API: of one, and of several at once."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from api.app import create_app
from shared.broker import Broker
from shared.database import make_engine
from shared.queue import Queue
from tests.api.conftest import settings_for
from tests.api.harness import ApiHarness
from tests.services.redis import RedisServer

MIB = 2**20
TEXT_BYTES = 48 * MIB
#: All uploads together, as `QUIRE_UPLOAD_MEMORY_BYTES` has it by default.
ALL_BYTES = 512 * 1000**2
#: What else grows meanwhile: threads' stacks, the allocator's spare room, the database's cache.
SLACK_BYTES = 48 * MIB
LINE = 'It was the best of times, "it was the worst of times".\n'


@dataclass(frozen=True)
class Server:
    """An API in a process of its own."""

    pid: int
    url: str
    key: str

    def post(self, body: bytes, content_type: str) -> int:
        """Upload, and again while the server has no room. Returns the status."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": content_type}
        with httpx2.Client(trust_env=False, timeout=120) as client:
            for _ in range(100):
                answer = client.post(f"{self.url}/v1/corpora?", headers=headers, content=body)
                if answer.status_code != 503:
                    break
                time.sleep(0.5)
        return answer.status_code

    def grown_bytes(self, start: bool = False) -> int:
        """The most memory that it had since the start of the measurement."""
        if start:
            Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


@pytest.fixture
def server(
    tmp_path: Path, migrated_sqlite: Path, redis_of_session: RedisServer
) -> Iterator[Server]:
    database = tmp_path / "quire.db"
    database.write_bytes(migrated_sqlite.read_bytes())
    url, redis_url = f"sqlite:///{database}", redis_of_session.url
    settings = settings_for(url, redis_url, tmp_path)
    engine = make_engine(url)
    harness = ApiHarness(
        create_app(settings, engine, Broker(redis_url)), engine, Queue(engine, settings)
    )
    key = harness.person("ann").key
    engine.dispose()
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "REDIS_URL": redis_url,
        "QUIRE_DATA_DIR": str(tmp_path),
        "QUIRE_MAX_CORPUS_BYTES": str(2 * TEXT_BYTES),
        "QUIRE_MAX_CORPORA_BYTES_PER_USER": str(100 * TEXT_BYTES),
        "QUIRE_MAX_STORED_BYTES_PER_USER": str(100 * TEXT_BYTES),
    }
    argv = [sys.executable, "-P", "-m", "api", "--port", "0"]
    log = (tmp_path / "api.log").open("w")
    with (
        log,
        subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "listens on" in line, (tmp_path / "api.log").read_text()
        yield Server(process.pid, f"http://127.0.0.1:{int(line.rpartition(':')[2])}", key)
        process.terminate()
        assert process.wait(20) == 0


def text_with_an_emoji() -> str:
    """One emoji makes each character of a string in Python take four bytes."""
    return "😀" + LINE * (TEXT_BYTES // len(LINE))


@pytest.mark.parametrize("kind", ["json", "escaped json", "plain"])
def test_uploads_take_the_memory_that_is_promised(server: Server, kind: str) -> None:
    text = text_with_an_emoji()
    if kind == "plain":
        body, content_type = text.encode(), "text/plain"
    else:
        fields = {"name": "long", "text": text}
        body = json.dumps(fields, ensure_ascii=kind != "json").encode()
        content_type = "application/json"
    assert server.post(b'{"name": "warm", "text": "up"}', "application/json") == 201
    idle = server.grown_bytes(start=True)
    assert server.post(body, content_type) == 201
    assert server.grown_bytes() - idle < 4 * len(body) + SLACK_BYTES
    server.grown_bytes(start=True)
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda _: server.post(body, content_type), range(4)))
    print(f"{kind}: {(server.grown_bytes() - idle) / MIB:.0f} MiB for 4 at once")
    assert statuses == [201] * 4
    assert server.grown_bytes() - idle < ALL_BYTES + SLACK_BYTES
