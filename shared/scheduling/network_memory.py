"""Which generations find room for their networks in a worker's memory, and which wait for it.

A job whose network has no room is passed over, for the sake of the others in the line. That it is
not passed over for ever, nothing is begun from time to time that would delay it: only jobs whose
networks fit beside its own.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

#: While a checkpoint is loaded, its bytes and its arrays are in memory.
LOAD_COPIES = 2
#: How long a job is passed over before others wait for it …
PATIENCE_SECONDS = 30.0
#: … and how long these wait, before the job is passed over again: longer than most texts take.
HOLD_SECONDS = 300.0
#: A job that no claim has considered for so long has ended, or runs elsewhere.
FORGET_SECONDS = 10.0


class NetworkTooLarge(Exception):
    """The network of a checkpoint needs more memory than a worker may use for all of them.

    Args:
        needed_bytes: What loading it takes.
        limit_bytes: What there is (`QUIRE_GENERATE_MEMORY_BYTES`).
    """

    def __init__(self, needed_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"its network needs {needed_bytes:,} bytes to load, and a worker may use "
            f"{limit_bytes:,} (QUIRE_GENERATE_MEMORY_BYTES)"
        )


def check_network(checkpoint_bytes: int, limit_bytes: int) -> None:
    """Check that a network can be loaded at all.

    Raises:
        NetworkTooLarge: It can't.
    """
    needed = LOAD_COPIES * checkpoint_bytes
    if needed > limit_bytes:
        raise NetworkTooLarge(needed, limit_bytes)


@dataclass(frozen=True, slots=True)
class NetworkNeed:
    """A job that may be claimed, and the checkpoint that it would load, if there is one."""

    job_id: str
    user_id: str
    checkpoint_id: str | None


@dataclass(slots=True)
class _Waiting:
    """A job that was passed over: its network's size, since when, and when it was seen last."""

    size: int
    since: float
    seen_at: float


@dataclass(slots=True)
class NetworkMemory:
    """The networks that one worker's jobs use, and the jobs that wait for room.

    Attributes:
        limit_bytes: The most that all networks in use may take.
        clock: Tells the time in seconds.
    """

    limit_bytes: int
    clock: Callable[[], float] = time.monotonic
    _sizes: dict[str, int] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)
    _waiting: dict[str, _Waiting] = field(default_factory=dict)

    @property
    def used_bytes(self) -> int:
        """What the networks in use take."""
        return sum(self._sizes.get(checkpoint, 0) for checkpoint in self._used)

    @property
    def has_waiting(self) -> bool:
        """Whether jobs wait for room."""
        return bool(self._waiting)

    def use(self, checkpoints: Iterable[str | None]) -> None:
        """Say which checkpoints the worker's jobs use now; the sizes of others are forgotten."""
        self._used = {checkpoint for checkpoint in checkpoints if checkpoint is not None}
        self._sizes = {each: self._sizes[each] for each in self._used & self._sizes.keys()}

    def unknown(self, checkpoints: Iterable[str | None]) -> set[str]:
        """Those checkpoints whose sizes are not known yet."""
        return {each for each in checkpoints if each is not None} - self._sizes.keys()

    def learn(self, checkpoint_bytes: Mapping[str, int]) -> None:
        """Take the sizes of checkpoints' files."""
        self._sizes |= {each: LOAD_COPIES * size for each, size in checkpoint_bytes.items()}

    def have_room(self, checkpoints: Iterable[str | None]) -> bool:
        """Whether the networks of checkpoints of known sizes fit beside those in use."""
        new = {each for each in checkpoints if each is not None} - self._used
        sizes = [self._sizes[each] for each in new if self._sizes[each] <= self.limit_bytes]
        return self.used_bytes + sum(sizes) <= self.limit_bytes

    def admit(self, needs: Iterable[NetworkNeed]) -> tuple[list[str], set[str]]:
        """Choose among jobs, whose checkpoints' sizes are known, in their order.

        Returns:
            The jobs that find room, which then use their networks; and the users of those that
            must wait.
        """
        now = self.clock()
        self._forget(now)
        admitted, passed_over = [], set()
        for need in needs:
            if self._take(need, now):
                admitted.append(need.job_id)
                self._waiting.pop(need.job_id, None)
            else:
                passed_over.add(need.user_id)
        return admitted, passed_over

    def _take(self, need: NetworkNeed, now: float) -> bool:
        checkpoint = need.checkpoint_id
        if checkpoint is None or self._sizes[checkpoint] > self.limit_bytes:
            return True  # it fails at its start, with the reason
        size = self._sizes[checkpoint]
        cost = 0 if checkpoint in self._used else size
        if self.used_bytes + cost + self._held_for_others(need, now) <= self.limit_bytes:
            self._used.add(checkpoint)
            return True
        waiting = self._waiting.setdefault(need.job_id, _Waiting(size, now, now))
        waiting.seen_at = now
        return False

    def _held_for_others(self, need: NetworkNeed, now: float) -> int:
        """The bytes that are held for the job that has waited longest, if it is its turn."""
        if not self._waiting:
            return 0
        job_id, first = min(self._waiting.items(), key=lambda entry: entry[1].since)
        waited = (now - first.since) % (PATIENCE_SECONDS + HOLD_SECONDS)
        return first.size if job_id != need.job_id and waited >= PATIENCE_SECONDS else 0

    def _forget(self, now: float) -> None:
        self._waiting = {
            job_id: waiting
            for job_id, waiting in self._waiting.items()
            if now - waiting.seen_at <= FORGET_SECONDS
        }
