"""A class of thirty on one machine for a quarter of an hour, while anything is killed at random.

Real processes: PostgreSQL, Redis, the API, and one host's workers on `cpu:0` and `cpu:1`. Each
user trains models, writes with their own and with one that all share, polls, reads lists and
cancels, and tries again where the server says so. Every 30 s something dies or freezes. In the
end every job that was answered with 202 must have ended, each text must be there once, and equal
trainings must have equal digests.

    python -m benchmarks.classroom [--quick]     # 15 minutes, or 50 s with a fault each 10 s
"""

import argparse
import random
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import func, select

from benchmarks.harness import load_corpus, machine
from benchmarks.house import House
from shared.database import make_sessions
from shared.tables import TERMINAL_STATUSES, Checkpoint, GeneratedText, Job

USERS = 30
CORPUS_CHARACTERS = 20_000
#: A handful of different trainings, so that many must end with the same digest.
SEEDS = (1, 2, 3)
TRAINING = {"window": 32, "units": 64, "embedding": 32, "batch_size": 16, "epochs": 2}
LENGTH = 100
POLL_SECONDS = 0.5
#: Between two things that a user does.
THINK_SECONDS = 3.0
CANCELLED_SHARE = 0.1
TRAINED_SHARE = 0.15
#: For what was accepted last to end.
DRAIN_SECONDS = 600.0


@dataclass
class Notes:
    """What all users together have seen."""

    accepted: list[str] = field(default_factory=list)
    get_seconds: list[float] = field(default_factory=list)
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
        models = [*self._models, *([self.shared] if self.shared else [])]
        if not models:
            return
        body = {"model": self._random.choice(models), "prompt": "The ", "length": LENGTH, "n": 2}
        job = self._submit("/v1/generate", body)
        if job is not None:
            self._follow(job)

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


@contextmanager
def _class(house: House, notes: Notes) -> Iterator[list[Person]]:
    text = load_corpus("nietzsche").text[:CORPUS_CHARACTERS]
    keys = house.add_users(USERS)
    stop = threading.Event()
    with httpx2.Client(
        base_url=house.url,
        headers={"Authorization": f"Bearer {keys[0]}"},
        trust_env=False,
        timeout=60,
    ) as teacher:
        body = {"name": "text", "text": text, "visibility": "server"}
        answer = teacher.post("/v1/corpora", json=body).raise_for_status()
        corpus = answer.json()["id"]
        asked = {"corpus": corpus, "seed": 1, "visibility": "server", **TRAINING}
        job = teacher.post("/v1/train", json=asked).raise_for_status().json()
        notes.accepted.append(job["id"])
        while teacher.get(f"/v1/jobs/{job['id']}").json()["status"] != "succeeded":
            time.sleep(POLL_SECONDS)
    people = [
        Person(number, house.url, key, corpus, notes, stop) for number, key in enumerate(keys)
    ]
    for person in people:
        person.shared = job["model"]
        person.start()
    try:
        yield people
    finally:
        stop.set()
        for person in people:
            person.join(60)


def _ended(house: House, notes: Notes) -> list[Job]:
    """The rows of all accepted jobs, once each has ended or it took too long."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while True:
        with make_sessions(house.engine, read_only=True)() as session:
            rows = list(session.scalars(select(Job)))
        if all(row.status in TERMINAL_STATUSES for row in rows) or time.monotonic() > deadline:
            known = set(notes.accepted)
            return [row for row in rows if row.id in known and row.status in TERMINAL_STATUSES]
        time.sleep(1)


def _digests(house: House, jobs: list[Job]) -> tuple[int, int]:
    """Trainings that succeeded, and those whose digest is another than that of most equal ones."""
    found: dict[int, Counter[str]] = defaultdict(Counter)
    with make_sessions(house.engine, read_only=True)() as session:
        for job in jobs:
            if job.kind == "train" and job.status == "succeeded":
                last = session.scalars(
                    select(Checkpoint.digest)
                    .where(Checkpoint.job_id == job.id)
                    .order_by(Checkpoint.step.desc())
                    .limit(1)
                ).one()
                found[job.spec["seed"]][last] += 1
    return (
        sum(sum(digests.values()) for digests in found.values()),
        sum(sum(digests.values()) - max(digests.values()) for digests in found.values()),
    )


def _texts(house: House, jobs: list[Job]) -> tuple[int, int, int]:
    """Requested texts, those that are there twice, and those that are missing."""
    with make_sessions(house.engine, read_only=True)() as session:
        query = select(GeneratedText.job_id, func.count(), func.count(func.distinct(
            GeneratedText.position))).where(GeneratedText.requested)  # fmt: skip
        rows = {row[0]: row[1:] for row in session.execute(query.group_by(GeneratedText.job_id))}
    wanted = {
        job.id: job.spec["n"] * len(job.spec["temperatures"])
        for job in jobs
        if job.kind == "generate" and job.status == "succeeded"
    }
    there = sum(count for count, _ in rows.values())
    doubled = sum(count - distinct for count, distinct in rows.values())
    missing = sum(number - rows.get(job_id, (0, 0))[1] for job_id, number in wanted.items())
    return there, doubled, missing


def main(quick: bool) -> int:
    """Run it and print what came of it; 0 where nothing was lost."""
    seconds, every = (50.0, 10.0) if quick else (900.0, 30.0)
    notes, dice = Notes(), random.Random(4)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quire-class-")))
        house = stack.enter_context(House.open(directory))
        with _class(house, notes):
            began = time.monotonic()
            faults: list[str] = []
            while time.monotonic() - began < seconds - every / 2:
                time.sleep(every)
                faults.append(house.hurt(dice))
                print(f"{time.monotonic() - began:5.0f} s  {faults[-1]}", flush=True)
            house.mend()
        jobs = _ended(house, notes)
        trainings, other = _digests(house, jobs)
        texts, doubled, missing = _texts(house, jobs)
    statuses = Counter(job.status for job in jobs)
    gets = sorted(notes.get_seconds)
    p50, p99 = statistics.median(gets), gets[int(0.99 * len(gets))]
    lost = len(notes.accepted) - len(jobs)
    print(
        f"\n{seconds:g} s, {USERS} users, {len(faults)} faults; {machine()}\n"
        f"jobs accepted {len(notes.accepted)}, ended {len(jobs)}, lost {lost}: {dict(statuses)}\n"
        f"texts {texts}, doubled {doubled}, missing {missing}; {texts / seconds:.2f} a second\n"
        f"digests checked {trainings}, other than their equals' {other}\n"
        f"GET p50 {1e3 * p50:.1f} ms, p99 {1e3 * p99:.1f} ms of {len(gets)}; "
        f"refused meanwhile {dict(notes.refused)}"
    )
    return int(bool(lost or doubled or missing or other))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classroom")
    parser.add_argument("--quick", action="store_true", help="50 s, a fault each 10 s")
    sys.exit(main(parser.parse_args().quick))
