"""Through the real front: models as files in both directions, and a webhook that leaves."""

import signal
from collections.abc import Iterator

import httpx2
import pytest

from tests.api.test_server import START_SECONDS, STOP_SECONDS, address, key_for, process
from tests.services.waiting import until
from tests.services.webhooks import receiving
from tests.unit.model_files.parts import WHOLE

LIMIT_BYTES = 200_000


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """A process does not depend on the database."""
    return sqlite_url


def in_chunks(data: bytes) -> Iterator[bytes]:
    yield from (data[start : start + 10_000] for start in range(0, len(data), 10_000))


def test_files_come_and_go_and_a_webhook_leaves(
    database_url: str, settings_env: dict[str, str]
) -> None:
    key = key_for(database_url, "ann")
    environment = {
        **settings_env,
        "QUIRE_MAX_MODEL_BYTES": str(LIMIT_BYTES),
        "QUIRE_WEBHOOK_ALLOW": "127.0.0.1",
    }
    kind = {"Content-Type": "application/octet-stream"}
    with process(environment, "--port", "0") as server, receiving() as receiver:
        url, headers = address(server), {"Authorization": f"Bearer {key}"}
        with httpx2.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as client:
            for body in (WHOLE, in_chunks(WHOLE)):
                made = client.post("/v1/models/import", content=body, headers=kind)
                assert made.status_code == 201, made.text
            exported = client.get(f"/v1/models/{made.json()['id']}/export").content
            again = client.post("/v1/models/import", content=exported, headers=kind)
            assert again.json()["origin"]["digest"] == made.json()["origin"]["digest"]
            more = b"x" * (LIMIT_BYTES + 1)
            for body in (more, in_chunks(more)):
                refused = client.post("/v1/models/import", content=body, headers=kind)
                assert refused.status_code == 413
                assert "QUIRE_MAX_MODEL_BYTES" in refused.json()["detail"]
            sent = client.post("/v1/notifications/test", json={"url": receiver.url}).json()["id"]
            until(
                lambda: client.get(f"/v1/deliveries/{sent}").json()["status"] == "delivered",
                "the webhook",
                START_SECONDS,
            )
            assert len(receiver.received) == 1
        server.send_signal(signal.SIGTERM)
        assert server.wait(STOP_SECONDS) == 0
