"""Who uses a whole Quire at once: for benchmarks/classroom.py."""

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

#: A handful of different trainings, so that many must end with the same digest.
SEEDS = (1, 2, 3)
TRAINING = {
    "window": 32, "units": 64, "embedding": 32, "batch_size": 16, "epochs": 2, "sample": None,
}  # fmt: skip
LENGTH = 100
POLL_SECONDS = 0.5
#: Between two things that a user does.
THINK_SECONDS = 3.0
CANCELLED_SHARE = 0.1
TRAINED_SHARE = 0.15
WATCHED_SHARE = 0.3
#: What somebody who always has work keeps in the line or running: longer than a turn, and more
#: of them than there are devices.
HEAVY_EPOCHS, HEAVY_JOBS = 12, 3


@dataclass
class Notes:
    """What all users together have seen."""

    accepted: list[str] = field(default_factory=list)
    get_seconds: list[float] = field(default_factory=list)
    first_seconds: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Person(threading.Thread):
    """A user who does this and that until it is time to stop."""

    def __init__(
        self, number: int, url: str, key: str, corpus: str, notes: Notes, stop: threading.Event
    ) -> None:
        super().__init__(name=f"user-{number}", daemon=True)
        self._random = random.Random(number)
        self._client = httpx2.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30
        )
        self._corpus, self._notes, self._stopped = corpus, notes, stop
        self._models: list[str] = []
        self.shared: str | None = None

    def run(self) -> None:
        """Train a model, then write with it and with the one that is everybody's."""
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
        """Ask for two texts, and watch them being written, or look again and again."""
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
        """Listen until the first character comes."""
        try:
            with self._client.stream("GET", f"/v1/jobs/{job['id']}/events") as answer:
                for line in answer.iter_lines():
                    if line in ("event: piece", "event: text"):
                        with self._notes.lock:
                            self._notes.first_seconds.append(time.perf_counter() - began)
                        return
                    if self._stopped.is_set():
                        return
        except httpx2.HTTPError as error:
            with self._notes.lock:
                self._notes.refused[f"{type(error).__name__} of a stream"] += 1

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
        """Submit, again if need be; one Idempotency-Key makes one job of it."""
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        while not self._stopped.is_set():
            answer = self._ask("POST", path, json=body, headers=headers)
            if answer is not None and answer.status_code == 202:
                with self._notes.lock:
                    self._notes.accepted.append(answer.json()["id"])
                return dict(answer.json())
            if answer is not None and answer.status_code not in (429, 503):
                raise RuntimeError(f"{path}: {answer.text}")
            self._stopped.wait(1)
        return None

    def _ask(self, method: str, path: str, **more: Any) -> httpx2.Response | None:
        """One request; nothing where the API is away or says that something else is."""
        began = time.perf_counter()
        try:
            answer = self._client.request(method, path, **more)
        except httpx2.HTTPError as error:
            with self._notes.lock:
                self._notes.refused[type(error).__name__] += 1
            return None
        with self._notes.lock:
            if answer.status_code >= 400:
                self._notes.refused[str(answer.status_code)] += 1
            elif method == "GET":
                self._notes.get_seconds.append(time.perf_counter() - began)
        return answer if answer.status_code < 500 else None


class Heavy(Person):
    """A user who always has trainings in the line."""

    def run(self) -> None:
        """Submit another one whenever one has ended."""
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
    """The median and the 99th percentile, as a line tells them."""
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(0.99 * len(ordered))]
    return f"p50 {1e3 * p50:.1f} ms, p99 {1e3 * p99:.1f} ms of {len(ordered)}"
