"""Continuous batching: sequences join and leave the batches between blocks of the compiled loop."""

import time
from collections import Counter, abc
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.sequence import Sequence
from worker.ml.sampling.stack import Group, advance_stack, stack_rule, steps_per_call
from worker.ml.sampling.turns import Entry, Turns

#: The first block of a followed sequence ends this many tokens into its text, so that they come at
#: once.
FIRST_TOKENS = 8
#: A sequence with no more steps than this is complete about as soon as its first tokens would be.
SHORT_STEPS = 128
#: With more waiting samplers per thread than this, a stack is faster than turns: its step takes
#: equally long however many of its places are filled.
STACKING_SAMPLERS = 2
#: How long the threads of a block have the interpreter to themselves, to prepare their batches:
#: before they compute, they need it as much as what is done meanwhile.
HEAD_START_SECONDS = 0.001


class Engine:
    """Advances sequences of any number of samplers, a block at a time, several batches at once.

    A sequence keeps its own state, so skipping a block costs nothing, and moving to another batch
    costs a copy of some kilobytes. Each block is scheduled anew: sequences of the least served
    owner first, of one owner those that have waited longest, and then whatever of the same sampler
    fits beside them. A short text or two of such an owner run ahead, in a block of their own: it
    takes a tenth of the time of a full one, and for half a second blocks are short, in case the
    owner asks again. Where many samplers of one shape wait, their weights
    are stacked and they share the step. A long text therefore never makes a short one wait for its
    end, whoever asked for either.

    On a GPU, a step of few sequences of a small network takes longer than on the CPU. A sequence of
    a GPU's sampler therefore begins on the CPU while its step would be less work than the
    crossover. It stays where it began: the two round differently, and a text that moved would have
    neither's bits.

    Args:
        threads: Batches that run side by side on each device: on a CPU, each on its own core.
        crossover: The multiply-adds of a step from which on a GPU is faster than the CPU, as
            `worker.ml.crossover` measures them. With 0 nothing goes to another device.
    """

    def __init__(self, threads: int, *, crossover: int = 0) -> None:
        self._threads = threads
        self._crossover = crossover
        devices = 2 if crossover else 1
        self._pool = ThreadPoolExecutor(threads * devices, thread_name_prefix="engine")
        self._turns = Turns()
        self._ending = 0

    def __len__(self) -> int:
        return len(self._turns)

    @property
    def staying(self) -> int:
        """How many sequences will be left after the block that runs now."""
        return max(0, len(self._turns) - self._ending)

    @property
    def is_hurried(self) -> bool:
        """Whether a short text of somebody who asks for little ran ahead a moment ago."""
        return self._turns.are_hurried

    def add(self, sequence: Sequence, sampler: Sampler, owner: Hashable) -> None:
        """Schedule a sequence from the next block on.

        Args:
            sequence: Must have a step left; one without would never advance.
            sampler: The sampler that made it.
            owner: Whose share of the device it uses.
        """
        self._turns.add(sequence, sampler, owner)

    def remove(self, sequence: Sequence) -> None:
        """Stop scheduling a sequence; does nothing for one that has already left."""
        self._turns.remove(sequence)

    def step(self, meanwhile: Callable[[], float] | None = None) -> list[Sequence]:
        """Run one block.

        Args:
            meanwhile: Called on this thread while the block runs on others, and as long as it runs
                called again: after so many seconds as it has returned.

        Returns:
            The sequences that advanced. Those that are complete or have failed are removed.
        """
        batches = self._schedule()
        short = self.is_hurried
        self._ending = sum(_count_ending(batch.groups, short=short) for batch in batches)
        running = [self._pool.submit(_advance, batch.groups, short=short) for batch in batches]
        try:
            if meanwhile is not None:
                wait(running, HEAD_START_SECONDS)
                pause = meanwhile()
                while wait(running, pause).not_done:
                    pause = meanwhile()
        finally:
            # Wait even after an error: nobody may touch a sequence while its batch runs.
            seconds = [future.result() for future in running]
            self._ending = 0
        advanced: list[Sequence] = []
        for batch, spent in zip(batches, seconds, strict=True):
            sequences = [sequence for _, members in batch.groups for sequence in members]
            # There is one device, however many batches share it: together they are charged no
            # more than the time that passed.
            share = spent / len(batches) / len(sequences)
            for sequence in sequences:
                sequence.seconds += share
                if self._turns.charge(sequence, share):
                    advanced.append(sequence)
        for sequence in advanced:
            if not sequence.remaining_steps or sequence.error is not None:
                self._turns.remove(sequence)
            else:
                self._turns.queue_again(sequence)
        return advanced

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _schedule(self) -> list["_Batch"]:
        """The batches of the next block, at most `threads` on each device."""
        self._choose_devices()
        batches: list[_Batch] = []
        stacking = self._stacking_keys()
        for sequence, entry in self._turns.take():
            sampler = entry.sampler
            if any(batch.try_add(sequence, sampler) for batch in batches):
                continue
            if sum(batch.on_gpu == sampler.shape.gpu for batch in batches) < self._threads:
                stacked = _batching_key(sequence, sampler) in stacking
                batches.append(_Batch(stacked, [(sampler, [sequence])]))
        while batches:
            # A core would be idle, and parts of a batch take less time than all of it.
            largest = max(batches, key=lambda batch: batch.rows)
            parts = largest.split(at_most=1 + self._threads - len(batches))
            if not parts:
                break
            batches += parts
        return batches

    def _choose_devices(self) -> None:
        """Let each sequence that has not begun compute where its step is shorter."""
        if not self._crossover:
            return
        together = Counter(_company(sequence, entry) for sequence, entry in self._turns.items())
        for sequence, entry in self._turns.items():
            if not sequence.computed_tokens:
                home, rows = entry.home, together[_company(sequence, entry)]
                on_cpu = (
                    replace(home.shape, rows=rows).multiply_adds < self._crossover
                    and rows <= home.on_cpu.capacity
                )
                entry.sampler = home.on_cpu if on_cpu else home

    def _stacking_keys(self) -> set[Hashable]:
        """The batching keys with so many waiting samplers that these should share steps."""
        waiting: dict[Hashable, Counter[Sampler]] = {}
        for sequence, entry in self._turns.items():
            if (sampler := entry.sampler).stackable:
                waiting.setdefault(_batching_key(sequence, sampler), Counter())[sampler] += 1
        threshold = STACKING_SAMPLERS * self._threads
        return {
            key
            for key, samplers in waiting.items()
            if len(samplers) > threshold and _gains_by_stacking(samplers)
        }


def _company(sequence: Sequence, entry: Entry) -> Hashable:
    """What sequences have in common that would share a step if all were on one device."""
    home = entry.home
    return home.shape if home.stackable else home, sequence.request.graph


def _batching_key(sequence: Sequence, sampler: Sampler) -> Hashable:
    return sampler.shape, sequence.request.graph


def _gains_by_stacking(waiting: Counter[Sampler]) -> bool:
    """Whether a stack of these samplers advances more than turns, by how many sequences each has.

    A GPU's step takes about equally long whatever its rows, so there the most rows win. On a CPU
    a stack's step is as short as its few rows.
    """
    sampler = next(iter(waiting))
    if not sampler.shape.gpu:
        return True
    rule = stack_rule(sampler)
    fullest = sorted(waiting.values(), reverse=True)[: rule.sizes[-1]]
    stacked = sum(min(count, rule.rows) for count in fullest)
    in_turns = sum(min(count, sampler.capacity) for count in waiting.values()) / len(waiting)
    return stacked > in_turns


@dataclass(slots=True)
class _Batch:
    """Sequences that share a block: of one sampler, or of a stack of samplers."""

    stacked: bool
    groups: list[tuple[Sampler, list[Sequence]]]

    def try_add(self, sequence: Sequence, sampler: Sampler) -> bool:
        """Add a sequence if it fits, and say whether it did."""
        first, sequences = self.groups[0]
        if sequences[0].request.graph != sequence.request.graph:
            return False
        rule = stack_rule(sampler)
        room = rule.rows if self.stacked else sampler.capacity
        for other, members in self.groups:
            if other is sampler:
                if len(members) < room:
                    members.append(sequence)
                    return True
                return False
        full = len(self.groups) >= rule.sizes[-1]
        if self.stacked and not full and first.shape == sampler.shape:
            self.groups.append((sampler, [sequence]))
            return True
        return False

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU runs it."""
        return self.groups[0][0].shape.gpu

    @property
    def rows(self) -> int:
        """The rows that are computed, with those that pad it; 0 for a stack, which has one size."""
        sampler, sequences = self.groups[0]
        return 0 if self.stacked else sampler.rows(len(sequences))

    def split(self, at_most: int) -> list["_Batch"]:
        """Cut it into full parts of fewer rows, and keep the first one.

        Returns:
            The others; none if so many parts would have as many rows each.
        """
        sampler, sequences = self.groups[0]
        for size in reversed(sampler.buckets):
            if size < self.rows and len(sequences) <= size * at_most:
                starts = range(size, len(sequences), size)
                parts = [_Batch(False, [(sampler, sequences[at : at + size])]) for at in starts]
                del sequences[size:]
                return parts
        return []


def _advance(groups: abc.Sequence[Group], *, short: bool) -> float:
    """Advance a batch and return the seconds it took. A sequence that breaks it fails alone."""
    started = time.perf_counter()
    sequences = [sequence for _, members in groups for sequence in members]
    steps, short = _first_steps(sequences), short or _is_followed(sequences)
    try:
        if len(groups) > 1:
            advance_stack(groups, steps, short=short)
        else:
            groups[0][0].advance(sequences, steps, short=short)
    except Exception as error:
        if len(sequences) == 1:
            sequences[0].error = error
        else:
            for sampler, members in groups:
                for sequence in members:
                    _advance([(sampler, [sequence])], short=short)
    return time.perf_counter() - started


def _is_followed(sequences: abc.Iterable[Sequence]) -> bool:
    return any(sequence.followed for sequence in sequences)


def _first_steps(sequences: abc.Sequence[Sequence]) -> int | None:
    """The steps of a block that ends soon after the first tokens of a text that somebody reads."""
    followed = [sequence for sequence in sequences if sequence.followed]
    prompts = [s.remaining_prompt_steps for s in followed if s.remaining_prompt_steps]
    if not prompts or max(sequence.remaining_steps for sequence in sequences) <= SHORT_STEPS:
        return None
    return min(prompts) + FIRST_TOKENS


def _count_ending(groups: abc.Sequence[Group], *, short: bool) -> int:
    """How many sequences of a batch will be complete after its next block."""
    sequences = [sequence for _, members in groups for sequence in members]
    steps = steps_per_call(groups, short=short or _is_followed(sequences))
    if (first := _first_steps(sequences)) is not None:
        steps = min(steps, first)
    return sum(sequence.remaining_steps <= steps for sequence in sequences)
