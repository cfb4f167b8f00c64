"""Simulated users of a complete Quire, for benchmarks/classroom.py."""

import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from shared.tables import TERMINAL_STATUSES

#: Few different trainings, so that many must end with the same digest.
SEEDS = (1, 2, 3)
TRAINING = {
    "window": 32, "units": 64, "embedding": 32, "batch_size": 16, "epochs": 2, "sample": None,
}  # fmt: skip
LENGTH = 100
POLL_SECONDS = 0.5
#: The mean time between two actions of a user.
THINK_SECONDS = 3.0
CANCELLED_SHARE = 0.1
TRAINED_SHARE = 0.15
WATCHED_SHARE = 0.3
#: The queued or running trainings of a heavy user: longer than a quantum, and more of them than
#: there are devices.
HEAVY_EPOCHS, HEAVY_JOBS = 12, 3


@dataclass
class Measurements:
    """What all users have measured."""

    accepted: list[str] = field(default_factory=list)
    get_seconds: list[float] = field(default_factory=list)
    first_seconds: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


class SimulatedUser(threading.Thread):
    """A user who trains, generates and polls until the stop event."""

    def __init__(
        self,
        number: int,
        url: str,
        key: str,
        corpus: str,
        measurements: Measurements,
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"user-{number}", daemon=True)
        self._random = random.Random(number)
        self._client = httpx2.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30
        )
        self._corpus, self._measurements, self._stopped = corpus, measurements, stop
        self._models: list[str] = []
        self.shared: str | None = None

    def run(self) -> None:
        """Train a model, then generate texts with it and with the shared one."""
        self._train()
        while not self._stopped.wait(self._random.random() * 2 * THINK_SECONDS):
            if self._random.random() < TRAINED_SHARE:
                self._train()
            else:
                self._write()
            self._ask("GET", "/v1/jobs")

    def _train(self) -> None:
        seed = self._random.choice(SEEDS)
        body = {"corpus": self._corpus, "seed": seed, "name": f"seed {seed}", **TRAINING}
        job = self._submit("/v1/train", body)
        if job is not None and self._follow(job) == "succeeded":
            self._models.append(job["model"])

    def _write(self) -> None:
        """Request two texts, and stream or poll them."""
        models = [*self._models, *([self.shared] if self.shared else [])]
        if not models:
            return
        body = {"model": self._random.choice(models), "prompt": "The ", "length": LENGTH, "n": 2}
        began = time.perf_counter()
        job = self._submit("/v1/generate", body)
        if job is None:
            return
        if self._random.random() < WATCHED_SHARE:
            self._watch(job, began)
        self._follow(job)

    def _watch(self, job: dict[str, Any], began: float) -> None:
        """Stream events until the first character arrives."""
        try:
            with self._client.stream("GET", f"/v1/jobs/{job['id']}/events") as answer:
                for line in answer.iter_lines():
                    if line in ("event: piece", "event: text"):
                        with self._measurements.lock:
                            self._measurements.first_seconds.append(time.perf_counter() - began)
                        return
                    if self._stopped.is_set():
                        return
        except httpx2.HTTPError as error:
            with self._measurements.lock:
                self._measurements.refused[f"{type(error).__name__} of a stream"] += 1

    def _follow(self, job: dict[str, Any]) -> str | None:
        cancels = self._random.random() < CANCELLED_SHARE
        while not self._stopped.wait(POLL_SECONDS):
            answer = self._ask("GET", f"/v1/jobs/{job['id']}")
            if answer is None:
                continue
            status = str(answer.json()["status"])
            if status in TERMINAL_STATUSES:
                return status
            if cancels and status == "running":
                self._ask("POST", f"/v1/jobs/{job['id']}/cancel")
                cancels = False
        return None

    def _submit(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Submit a job, with retries; the Idempotency-Key makes sure that it is one job."""
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        while not self._stopped.is_set():
            answer = self._ask("POST", path, json=body, headers=headers)
            if answer is not None and answer.status_code == 202:
                with self._measurements.lock:
                    self._measurements.accepted.append(answer.json()["id"])
                return dict(answer.json())
            if answer is not None and answer.status_code not in (429, 503):
                raise RuntimeError(f"{path}: {answer.text}")
            self._stopped.wait(1)
        return None

    def _ask(self, method: str, path: str, **more: Any) -> httpx2.Response | None:
        """Send a request; return None if the API or its database is unreachable."""
        began = time.perf_counter()
        try:
            answer = self._client.request(method, path, **more)
        except httpx2.HTTPError as error:
            with self._measurements.lock:
                self._measurements.refused[type(error).__name__] += 1
            return None
        with self._measurements.lock:
            if answer.status_code >= 400:
                self._measurements.refused[str(answer.status_code)] += 1
            elif method == "GET":
                self._measurements.get_seconds.append(time.perf_counter() - began)
        return answer if answer.status_code < 500 else None


class HeavyUser(SimulatedUser):
    """A user who always has queued trainings."""

    def run(self) -> None:
        """Submit another training whenever one has ended."""
        jobs: list[dict[str, Any]] = []
        while not self._stopped.wait(POLL_SECONDS):
            jobs = [job for job in jobs if not self._has_ended(job)]
            while len(jobs) < HEAVY_JOBS and not self._stopped.is_set():
                body = {"corpus": self._corpus, "seed": 1, "name": "heavy", **TRAINING}
                job = self._submit("/v1/train", body | {"epochs": HEAVY_EPOCHS})
                if job is not None:
                    jobs.append(job)

    def _has_ended(self, job: dict[str, Any]) -> bool:
        answer = self._ask("GET", f"/v1/jobs/{job['id']}")
        return answer is not None and answer.json()["status"] in TERMINAL_STATUSES


def percentiles(seconds: Sequence[float]) -> str:
    """Format the median and the 99th percentile."""
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(0.99 * len(ordered))]
    return f"p50 {1e3 * p50:.1f} ms, p99 {1e3 * p99:.1f} ms of {len(ordered)}"
