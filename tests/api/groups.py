"""Helpers: concurrent requests that share a transaction."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from api.operations.texts import submission_groups
from shared.database import make_sessions
from shared.tables import Job
from tests.api.harness import ApiHarness, Person
from tests.services.waiting import until

Send = Callable[[], Any]


class Groups:
    """Holds the first group back, so that all later requests form the next one.

    Attributes:
        sizes: Of the groups that were committed, in order.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.declined: list[int] = []
        self._commit = submission_groups._commit
        self._gate: threading.Event | None = None
        self._held = threading.Event()
        monkeypatch.setattr(submission_groups, "_commit", self._pass)

    def _pass(self, group: Any) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            self._held.set()
            assert gate.wait(60)
        self.sizes.append(len(group))
        self._commit(group)
        self.declined.append(sum(text.creation is None for text in group))

    def together(self, harness: ApiHarness, first: Send, others: list[Send]) -> list[Any]:
        """Send requests of which all but the first are in one group; return their responses."""
        gate = self._gate = threading.Event()
        self._held.clear()
        groups = harness.app.extensions["quire"].text_submissions
        with ThreadPoolExecutor(len(others) + 1) as threads:
            leader = threads.submit(first)
            assert self._held.wait(30)
            sent = [threads.submit(send) for send in others]
            until(lambda: len(groups._waiting) == len(others), "all wait for their transaction")
            gate.set()
            return [leader.result(), *(future.result() for future in sent)]


def sender(harness: ApiHarness, person: Person, body: dict[str, Any], **headers: str) -> Send:
    """Return a function that asks for a text on a connection of its own."""
    client = Person(harness.app.test_client(), person.name, person.key)
    return lambda: client.post("/v1/generate", body, headers=headers)


def statuses(answers: list[Any]) -> list[int]:
    return [answer.status_code for answer in answers]


def rows(harness: ApiHarness, table: type, *conditions: Any) -> int:
    with make_sessions(harness.engine)() as session:
        return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


def generations(harness: ApiHarness) -> int:
    return rows(harness, Job, Job.kind == "generate")
