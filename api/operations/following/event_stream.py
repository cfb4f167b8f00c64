"""Follow jobs as Server-Sent Events: first their rows, then their live events, then their ends.

The rows are the truth and the events in Redis are a hint (shared/job_events.py). While Redis is
unavailable, or after it has lost the events, states and finished texts still arrive from the
rows, a little later.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import redis

from api.operations.following.job_follower import BLOCK_SECONDS, JobFollower, StreamEvent
from api.services import Services

#: At least one write per interval reveals a closed connection and keeps proxies from closing it.
HEARTBEAT_SECONDS = 15.0
#: A comment, which clients ignore.
HEARTBEAT = ": heartbeat\n\n"
#: How long a browser waits before it reconnects.
RETRY_MILLISECONDS = 2000

#: An event, and the job that it is about.
Told = tuple[JobFollower, StreamEvent]
#: Encodes an event of one of the followed jobs.
Encode = Callable[[JobFollower, StreamEvent], str]


class EventStream:
    """One client's event stream, of one job or several.

    Args:
        services: The services of the application.
        followers: The jobs.
        should_end: Tells whether the client left, or lost its seat.
    """

    def __init__(
        self,
        services: Services,
        followers: Sequence[JobFollower],
        should_end: Callable[[], bool] = lambda: False,
    ) -> None:
        self._services = services
        self._followers = followers
        self._should_end = should_end
        self._wrote_at = time.monotonic()

    def encoded(self, encode: Encode) -> Iterator[str]:
        """Yield what a browser's `EventSource` is sent, to the end of `events`.

        Args:
            encode: `encode_of_job`, or one that also names the job.
        """
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        for told in self.events():
            yield HEARTBEAT if told is None else encode(*told)

    def events(self) -> Iterator[Told | None]:
        """Yield events until the jobs end, the server stops, or the client leaves.

        None stands for a heartbeat, which the client has to be sent.
        """
        for follower in self._followers:
            if self._should_end():
                return
            yield from self._noted(follower, follower.replay())
        while not (self._has_ended() or self._services.stopping.is_set() or self._should_end()):
            yield from self._poll()
            if time.monotonic() - self._wrote_at >= HEARTBEAT_SECONDS:
                self._wrote_at = time.monotonic()
                yield None

    def _has_ended(self) -> bool:
        # One session or key signs all of a stream's requests.
        return all(each.ended for each in self._followers) or any(
            each.refusal is not None for each in self._followers
        )

    def _poll(self) -> Iterator[Told]:
        live = [follower for follower in self._followers if not follower.ended]
        try:
            for follower in live:
                follower.announce_if_due()
            found = self._services.event_reader.read_many(
                {follower.job_id: follower.position for follower in live}, BLOCK_SECONDS
            )
        except redis.RedisError:
            self._services.stopping.wait(1.0)
            found = None
        for follower in live:
            if self._should_end():
                return
            entries = None if found is None else found.get(follower.job_id, [])
            yield from self._noted(follower, follower.advance(entries))

    def _noted(self, follower: JobFollower, events: Iterable[StreamEvent]) -> Iterator[Told]:
        for event in events:
            self._wrote_at = time.monotonic()
            follower.last_id = event.id or follower.last_id
            yield follower, event


def encode_of_job(_follower: JobFollower, event: StreamEvent) -> str:
    """Encode an event of a stream that follows one job."""
    return _encode(event.kind, event.data, event.id)


def encode_of_jobs(followers: Sequence[JobFollower]) -> Encode:
    """Return how a stream of several jobs encodes events.

    The data names the job, and an id holds the place in the stream of every job.
    """

    def encode(follower: JobFollower, event: StreamEvent) -> str:
        places = (f"{each.job_id}:{each.last_id}" for each in followers if each.last_id)
        data = {"job": follower.job_id, "data": event.data}
        return _encode(event.kind, data, None if event.id is None else ",".join(places))

    return encode


def places_of_jobs(event_id: str | None) -> dict[str, str]:
    """Return what an id of `encode_of_jobs` holds: the id of each job's last event, by job."""
    return dict(place.split(":", 1) for place in (event_id or "").split(",") if place)


def _encode(kind: str, data: dict[str, Any], entry_id: str | None = None) -> str:
    id_line = "" if entry_id is None else f"id: {entry_id}\n"
    return f"{id_line}event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
