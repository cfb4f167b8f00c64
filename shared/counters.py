"""Counters and histograms as rows, which outlive processes and the rows that they count.

A transaction collects what it counts in a `Tally` and writes it last, by one statement: the rows
are locked until its commit, and it waits for nothing else meanwhile.
"""

import json
import os
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from shared.prepared import Prepared
from shared.tables import Counter

#: Processes of one machine rarely share a row, and a scrape reads few.
SHARDS = 8
#: The label of the sum of a histogram's observations, in place of a bucket's bound.
SUM = "sum"
#: Upper bounds in seconds. A text takes tenths of a second, a training hours.
JOB_BUCKETS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43_200.0)
TEXT_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)

ENDED, RESCUED, LEASE_LOST = "jobs_ended", "jobs_rescued", "lease_lost"
WAITED, RAN, TOKENS, FIRST_CHARACTER = "job_wait", "job_run", "tokens", "first_character"
HTTP = "http"
#: The bounds of each histogram's buckets.
BUCKETS: Mapping[str, Sequence[float]] = {
    WAITED: JOB_BUCKETS,
    RAN: JOB_BUCKETS,
    FIRST_CHARACTER: TEXT_BUCKETS,
    HTTP: HTTP_BUCKETS,
}


class Tally:
    """What one transaction counts."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, tuple[str, ...]], float] = defaultdict(float)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, name: str, *labels: str, amount: float = 1) -> None:
        """Raise a counter."""
        if not amount:
            return
        self._counts[name, labels] += amount

    def observe(self, name: str, *labels: str, value: float) -> None:
        """Add an observation, such as a duration in seconds, to a histogram."""
        bounds = BUCKETS[name]
        place = bisect_left(bounds, value)
        bound = f"{bounds[place]:g}" if place < len(bounds) else "+Inf"
        self._counts[name, (*labels, bound)] += 1
        self._counts[name, (*labels, SUM)] += value

    def merge(self, other: "Tally") -> None:
        """Add what another one has counted."""
        for key, amount in other._counts.items():
            self._counts[key] += amount

    def post(self, connection: Connection) -> None:
        """Raise the rows. The transaction takes no lock after these."""
        if not self._counts:
            return
        shard = os.getpid() % SHARDS
        rows = [
            {"name": name, "labels": json.dumps(labels), "shard": shard, "value": amount}
            # In one order, so that two transactions of a shard can't deadlock.
            for (name, labels), amount in sorted(self._counts.items())
        ]
        _raise_statement(connection.dialect.name).run(connection, *rows)


class SharedTally:
    """A tally that several threads count in, and one writes from time to time."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._lock = threading.Lock()

    def observe(self, name: str, *labels: str, value: float) -> None:
        """Add an observation to a histogram."""
        with self._lock:
            self._tally.observe(name, *labels, value=value)

    def take(self) -> Tally:
        """Return what was counted since the last call."""
        with self._lock:
            taken, self._tally = self._tally, Tally()
        return taken

    def merge(self, tally: Tally) -> None:
        """Put back what could not be written."""
        with self._lock:
            self._tally.merge(tally)


@cache
def _raise_statement(dialect: str) -> Prepared:
    statement = (postgresql if dialect == "postgresql" else sqlite).insert(Counter.__table__)
    return Prepared(
        statement.on_conflict_do_update(
            index_elements=["name", "labels", "shard"],
            set_={"value": Counter.__table__.c.value + statement.excluded.value},
        )
    )
