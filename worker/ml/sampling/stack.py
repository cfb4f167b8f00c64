"""Stacks: checkpoints of one shape that share a step, with their weights in front of each other."""

from collections import abc
from dataclasses import dataclass, replace
from threading import Lock

import tensorflow as tf
from cachetools import LRUCache, cached

from worker.ml.sampling.batch import run_batch
from worker.ml.sampling.pace import steps_of_call
from worker.ml.sampling.sampler import Sampler, shortest_request
from worker.ml.sampling.sequence import Sequence
from worker.ml.sampling.shape import StepShape


@dataclass(frozen=True, slots=True)
class StackRule:
    """How a device stacks.

    Attributes:
        sizes: Checkpoints of a stack; fewer are padded to the next size.
        rows: Sequences of each of them.
        kept_bytes: The stacks that are kept, because the same checkpoints often share many steps in
            a row. The samplers that would otherwise be freed take as much again.
            `QUIRE_LOADED_BYTES` counts neither.
    """

    sizes: tuple[int, ...]
    rows: int
    kept_bytes: int


#: As many checkpoints as keep their weights in a core's cache. Each gets the smallest number of
#: rows that gives a row the bits it has in any other batch.
CPU_RULE = StackRule(sizes=(4,), rows=2, kept_bytes=2**25)
#: A GPU reads each weight once for all rows of its checkpoint, and more products fill it better.
GPU_RULE = StackRule(sizes=(8, 64), rows=8, kept_bytes=2**29)

#: A sampler and those of its sequences that advance.
Group = tuple[Sampler, abc.Sequence[Sequence]]


def stack_rule(sampler: Sampler) -> StackRule:
    """How a sampler is stacked."""
    return GPU_RULE if sampler.shape.gpu else CPU_RULE


def stack_shape(sampler: Sampler, count: int = 1) -> StepShape:
    """The shape of a stack of `count` samplers that are shaped like this one."""
    rule = stack_rule(sampler)
    size = next(size for size in rule.sizes if size >= count)
    return replace(sampler.shape, rows=size * rule.rows, stack=size)


def steps_per_call(groups: abc.Sequence[Group], *, short: bool) -> int:
    """How many steps a call for these sequences may run.

    Args:
        groups: One, as for `Sampler.advance`, or several, as for `advance_stack`.
        short: As for `Sampler.advance`.
    """
    sampler, members = groups[0]
    stacked = len(groups) > 1
    shape = stack_shape(sampler, len(groups)) if stacked else sampler.batch_shape(len(members))
    filtered, report = members[0].request.graph
    return steps_of_call(replace(shape, filtered=filtered, report=report), short=short)


def advance_stack(
    groups: abc.Sequence[Group], steps: int | None = None, *, short: bool = True
) -> None:
    """Advance sequences of several samplers in one call: `Sampler.advance` for a stack.

    On a CPU each sequence gets the bits that it would get in any other batch.

    Args:
        groups: As many samplers of one shape as their rule allows at most, each with at most so
            many sequences, all of one `graph`.
        steps: As for `Sampler.advance`.
        short: As for `Sampler.advance`.
    """
    # In a fixed order, so that the same samplers are stacked only once.
    groups = sorted(groups, key=lambda group: group[0].serial)
    first = groups[0][0]
    shape = stack_shape(first, len(groups))
    # Empty places repeat the first sampler; nobody reads their results.
    samplers = (*(sampler for sampler, _ in groups), *[first] * (shape.stack - len(groups)))
    sequences = [sequence for _, members in groups for sequence in members]
    rows = [
        number * stack_rule(first).rows + row
        for number, (_, members) in enumerate(groups)
        for row in range(len(members))
    ]
    weights = _stack_weights_on_gpu(samplers) if shape.gpu else _stack_weights(samplers)
    run_batch(weights, sequences, rows, shape, steps, short=short, device=first.device)


def warm_up_stacks(sampler: Sampler, *, filtered: bool = False) -> None:
    """Compile the graphs of a stackable sampler's stacks.

    Args:
        sampler: The sampler; it is stacked with itself.
        filtered: Compile for requests that restrict their draws.
    """
    request = shortest_request(filtered=filtered)
    for size in stack_rule(sampler).sizes:
        advance_stack([(sampler, [sampler.new_sequence(request)]) for _ in range(size)])


def _stacked(samplers: tuple[Sampler, ...]) -> list[tf.Tensor]:
    stacks = zip(*(sampler.weights for sampler in samplers), strict=True)
    with tf.device(samplers[0].device):
        return [tf.stack(weights) for weights in stacks]


def _size(weights: list[tf.Tensor]) -> int:
    return sum(tensor.dtype.size * tensor.shape.num_elements() for tensor in weights)


# One cache for each rule, since a process of a GPU may have stacks on its CPU too.
_stack_weights, _stack_weights_on_gpu = (
    cached(LRUCache(rule.kept_bytes, getsizeof=_size), lock=Lock(), info=True)(_stacked)
    for rule in (CPU_RULE, GPU_RULE)
)
