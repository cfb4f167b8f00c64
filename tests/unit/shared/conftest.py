"""A supervisor whose events are recorded."""

from collections.abc import Iterator

import pytest

from shared.process.supervisor import Event, ProcessSupervisor


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def supervisor(events: list[Event]) -> Iterator[ProcessSupervisor]:
    with ProcessSupervisor(report=events.append) as supervisor:
        yield supervisor
