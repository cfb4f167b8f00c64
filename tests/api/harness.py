"""An API in this process, users with keys, and models that the queue itself has made."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from flask import Flask
from flask.testing import FlaskClient
from safetensors.numpy import save
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from shared import blobs
from shared.accounts import create_key, create_user
from shared.checkpoint_aliases import resolve
from shared.database import make_sessions
from shared.queue import Queue
from shared.queue.types import CheckpointRecord, Claim, ProgressReport, TextRecord
from shared.tables import ApiKey

ENGLISH = "It was a bright cold day in April, and the clocks were striking thirteen.\n" * 60
DEVICE = "host/cpu/train"


class Person:
    """A user with a key, who sends requests."""

    def __init__(self, client: FlaskClient, name: str, key: str) -> None:
        self.client, self.name, self.key = client, name, key

    def send(self, method: str, path: str, **options: Any) -> TestResponse:
        """Send a request with the user's key."""
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        response = self.client.open(path, method=method, headers=headers, buffered=True, **options)
        # The test client keeps a large form in a temporary file.
        response.request.environ["wsgi.input"].close()
        return response

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.send("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> TestResponse:
        return self.send("POST", path, json=json, **options)

    def patch(self, path: str, json: Any) -> TestResponse:
        return self.send("PATCH", path, json=json)

    def delete(self, path: str) -> TestResponse:
        return self.send("DELETE", path)

    def items(self, path: str) -> list[Any]:
        """Return the items of a list's first page."""
        response = self.get(path)
        assert response.status_code == 200, response.text
        return list(response.json["items"])

    def upload(self, text: str = ENGLISH, name: str = "orwell", **fields: Any) -> str:
        """Upload a text and return the corpus id."""
        assert_succeeded(
            response := self.post("/v1/corpora", {"name": name, "text": text, **fields})
        )
        return str(response.json["id"])

    def train(self, corpus: str, **fields: Any) -> Any:
        """Submit a training and return the job."""
        assert_succeeded(response := self.post("/v1/train", {"corpus": corpus, **fields}))
        return response.json


def expire(harness: "ApiHarness", person: Person) -> datetime:
    """Let the key of a person expire a second ago."""
    moment = datetime.now(UTC) - timedelta(seconds=1)
    with make_sessions(harness.engine).begin() as session:
        session.query(ApiKey).filter_by(prefix=person.key.split("_")[1]).one().expires_at = moment
    return moment


def assert_succeeded(response: TestResponse) -> None:
    """Fail if the request was refused."""
    assert response.status_code in (200, 201, 202), response.text


@dataclass
class ApiHarness:
    """The API, its database and its queue."""

    app: Flask
    engine: Engine
    queue: Queue

    def person(self, name: str, role: str = "member") -> Person:
        """Create a user with a key."""
        with make_sessions(self.engine).begin() as session:
            user = create_user(session, name, role)
            key = create_key(session, user).key
        return Person(self.app.test_client(), name, key)

    def claim(self, job_id: str, kind: str = "train") -> Claim:
        """Claim a job as a worker would, and every job ahead of it."""
        while claims := self.queue.claim(kind, DEVICE):
            if claims[0].job_id == job_id:
                return claims[0]
        raise AssertionError(f"job {job_id} can't be claimed")

    def checkpoint(self, claim: Claim, step: int, val_loss: float | None = 1.5) -> str:
        """Record a checkpoint with a real file."""
        data = safetensors(step)
        sha256 = blobs.store(self.engine, data)
        record = CheckpointRecord(
            step=step,
            epoch=step / 100,
            loss=1.4,
            val_loss=val_loss,
            digest=hashlib.sha256(b"digest" + data).hexdigest(),
            sha256=sha256,
            size_bytes=len(data),
            fingerprint={"threads": 1},
        )
        return self.queue.record_checkpoint(claim, record)

    def progress(self, claim: Claim, step: int) -> None:
        """Record the progress of a training."""
        self.queue.record_progress(
            claim, ProgressReport(step, 400, step / 100, 4, 1.5, None, 0.004, 10_000.0, 12.5)
        )

    def model(self, person: Person, corpus: str | None = None, **fields: Any) -> Any:
        """Create a model with one checkpoint, from a training that has succeeded."""
        job = person.train(corpus or person.upload(), **fields)
        claim = self.claim(job["id"])
        self.checkpoint(claim, 100)
        self.queue.succeed(claim)
        return person.get(f"/v1/models/{job['model']}").json

    def write(self, job: Any, texts: Sequence[str] = ("a text",)) -> None:
        """Complete a generation, as a worker would."""
        claim = self.claim(job["id"], "generate")
        with self.engine.connect() as connection:
            checkpoint = resolve(connection, claim.model_id, claim.spec["checkpoint"])
        self.queue.succeed(claim, [record(i, text, checkpoint) for i, text in enumerate(texts)])


def record(
    position: int, text: str, checkpoint: str | None, temperature: float = 0.5, **fields: Any
) -> TextRecord:
    """Return a text record as a worker writes it."""
    return TextRecord(
        position=position,
        prompt="It ",
        text=text,
        temperature=temperature,
        top_k=None,
        top_p=None,
        seed=7 + position,
        finish_reason="length",
        checkpoint_id=checkpoint,
        **fields,
    )


def safetensors(step: int) -> bytes:
    """Return the checkpoint file of a small network."""
    rng = np.random.default_rng(step)
    tensors = {
        "lstm.0.kernel": rng.standard_normal((5, 32), dtype=np.float32),
        "lstm.0.recurrent_kernel": rng.standard_normal((8, 32), dtype=np.float32),
        "lstm.0.bias": np.zeros(32, np.float32),
        "head.kernel": rng.standard_normal((8, 5), dtype=np.float32),
        "head.bias": np.zeros(5, np.float32),
    }
    return save(tensors, metadata={"quire": json.dumps({"step": step})})


def problem(response: TestResponse, status: int) -> Any:
    """Return the problem in a response; fail unless it has this status."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    body = response.json
    assert body["status"] == status
    assert body["type"].startswith("/problems/")
    assert body["title"]
    assert body["detail"]
    return body
