"""Ends of runs, published to the requests that wait for them: one Redis channel.

Like wakes and events, ends are hints. A worker publishes after the commit of its finish
transaction, and whoever waits for a job still reads the job's row before it answers; a published
end only says when to read it, and saves reading the texts. A lost end costs up to a second, a
doubled or late one a look at the row.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import structlog
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from shared.background_sender import BackgroundSender
from shared.process.wakeup import Wakeup
from shared.queue.types import JobEnd
from shared.subscription import Subscription, channel

#: An end whose texts take more is published without them: they are read from the rows.
MAX_END_BYTES = 64 * 1024
MAX_MESSAGE_BYTES = 512 * 1024
#: Ends that wait while Redis is slow; the oldest is dropped first.
MAX_PENDING = 4_096
#: Names the channel.
SUBJECT = "ends"

_END: TypeAdapter[JobEnd] = TypeAdapter(JobEnd)
_ENDS: TypeAdapter[list[JobEnd]] = TypeAdapter(list[JobEnd])

log = structlog.get_logger(__name__)


class JobEndPublisher(BackgroundSender[JobEnd]):
    """Publishes ends in a background thread.

    Args:
        url: A Redis address in either spelling.
    """

    lost_event = "ends_not_published"

    def __init__(self, url: str) -> None:
        super().__init__(url, "job-ends", MAX_PENDING, MAX_PENDING)
        self._channel = channel(self._redis, SUBJECT)

    def publish(self, ends: Iterable[JobEnd]) -> None:
        """Queue ends. They are lost if Redis cannot be reached.

        Call it after the commit that ended the runs, whatever they ended with: a request that
        waits is woken by an end without texts too, and reads the rows.
        """
        with self._not_empty:
            self._pending.extend(ends)
            if self._pending:
                self._notify()

    def _send(self, batch: Sequence[JobEnd], asked: bool) -> None:
        for message in messages(batch):
            self._redis.publish(self._channel, message)


def messages(ends: Iterable[JobEnd]) -> Iterator[bytes]:
    """Write ends down as messages of a bounded size."""
    documents: list[bytes] = []
    size = 0
    for end in ends:
        document = _document(end)
        if documents and size + len(document) > MAX_MESSAGE_BYTES:
            yield b"[" + b",".join(documents) + b"]"
            documents, size = [], 0
        documents.append(document)
        size += len(document)
    if documents:
        yield b"[" + b",".join(documents) + b"]"


def _document(end: JobEnd) -> bytes:
    try:
        document = _END.dump_json(end)
    except PydanticSerializationError:
        pass  # A lone surrogate has no encoding.
    else:
        if len(document) <= MAX_END_BYTES:
            return document
    return _END.dump_json(replace(end, texts=None))


class EndWaiter(Wakeup):
    """One request that waits for the end of one job; it is woken when to read the job's row.

    Attributes:
        job_id: The job.
        asker: Who waits; it means nothing here.
        end: What was published last; None until then.
        since: Since when it waits, by `time.monotonic`.
        seen: What `look` has read after that for the request, which takes it.
        wake_with: Called with `wake` once the end has come, to call it when the request can go
            on; by default it is woken at once.
    """

    __slots__ = ("asker", "end", "job_id", "seen", "since", "wake_with")

    def __init__(self, job_id: str, asker: object = None) -> None:
        super().__init__()
        self.job_id = job_id
        self.asker = asker
        self.end: JobEnd | None = None
        self.seen: object = None
        self.since = time.monotonic()
        self.wake_with: Callable[[Callable[[], None]], object] | None = None

    def wake_for_end(self) -> None:
        """Have the request woken, as the end has come."""
        wake_with = self.wake_with
        if wake_with is None:
            self.wake()
        else:
            wake_with(self.wake)


class JobEndListener(Subscription):
    """Hands published ends to the requests that wait for them. One per process.

    Its thread and connection begin with the first request that waits. While it is not listening,
    whoever waits must read rows by itself.

    Args:
        url: A Redis address in either spelling.
        look: Called with the requests whose ends have come together, before they are woken.
    """

    lost_event = "ends_not_heard"

    def __init__(
        self, url: str, look: Callable[[Sequence[EndWaiter]], object] = lambda waiters: None
    ) -> None:
        super().__init__(url, SUBJECT, "job-ends", self._wake_all)
        self._look = look
        self._waiters: dict[str, list[EndWaiter]] = {}
        self._lock = threading.Lock()

    def expect(self, job_id: str, asker: object = None) -> EndWaiter:
        """Begin to wait for a job's end.

        Call it before the commit of a new job, and read the row of any other job afterwards:
        then no end is missed. `forget` the waiter in the end.

        Args:
            job_id: The job.
            asker: Who waits, for `look`.
        """
        waiter = EndWaiter(job_id, asker)
        with self._lock:
            self._waiters.setdefault(job_id, []).append(waiter)
        self.start()
        return waiter

    def forget(self, waiter: EndWaiter) -> None:
        """Stop waiting. Forgetting a waiter twice is no error."""
        with self._lock:
            waiters = self._waiters.get(waiter.job_id, [])
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                self._waiters.pop(waiter.job_id, None)

    def _receive(self, data: bytes) -> None:
        try:
            ends = _ENDS.validate_json(data)
        except ValidationError as error:
            log.warning("ends_unreadable", reason=str(error.errors(include_url=False)[0]))
            return
        self._hand_over(ends)

    def _hand_over(self, ends: Iterable[JobEnd]) -> None:
        with self._lock:
            found = [(end, each) for end in ends for each in self._waiters.get(end.job_id, ())]
        for end, waiter in found:
            waiter.end = end
        waiters = list(dict.fromkeys(waiter for _, waiter in found))
        try:
            self._look(waiters)
        except Exception:
            log.exception("look_failed", waiters=len(waiters))
        for waiter in waiters:
            waiter.wake_for_end()

    def _wake_all(self) -> None:
        # Ends may have been lost, so everybody reads rows.
        with self._lock:
            waiters = [waiter for waiters in self._waiters.values() for waiter in waiters]
        for waiter in waiters:
            waiter.wake()
