"""The events in a job's history, described in words."""

from collections.abc import Callable, Mapping
from typing import Any

from quire.client.replies import Event
from quire.terminal import formatting

#: Frequent events that are listed elsewhere: `quire checkpoints` lists these.
ROUTINE = frozenset({"checkpoint"})

Data = Mapping[str, Any]


def describe_event(event: Event) -> str:
    """Describe an event in words.

    An event that this client does not know, or whose data it does not know, is described by its
    type and its data.
    """
    describe = _DESCRIPTIONS.get(event.type, _generic(event.type))
    try:
        text = describe(event.data)
    except (KeyError, TypeError, ValueError, AttributeError):  # a newer server sends other data
        text = _generic(event.type)(event.data)
    is_retry = event.type == "claimed" and event.attempt > 1
    return f"{text} (attempt {event.attempt})" if is_retry else text


def _generic(event_type: str) -> Callable[[Data], str]:
    def describe(data: Data) -> str:
        fields = ", ".join(
            f"{name.replace('_', ' ')} {_value(value)}" for name, value in data.items()
        )
        plain = event_type.replace("_", " ")
        return f"{plain}: {fields}" if fields else plain

    return describe


def _value(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _ended(status: str) -> Callable[[Data], str]:
    return lambda data: f"{status} after {formatting.duration_in_words(data['seconds'])}"


def _resumed(data: Data) -> str:
    return f"resumed from the checkpoint at step {data['step']:,}, epoch {data['epoch']:.1f}"


def _held_out(data: Data) -> str:
    pieces = data["pieces"]
    held_out = sum(end - first for first, end in pieces)
    if len(pieces) > 1:
        return f"{held_out:,} tokens held out in {len(pieces)} pieces, spread over the text"
    return f"the last {held_out:,} tokens held out"


def _began_from(data: Data) -> str:
    if data["goes_on"]:
        return f"continued from checkpoint {data['checkpoint']}, at step {data['step']:,}"
    return (
        f"started with the weights of checkpoint {data['checkpoint']}; "
        "steps, schedule and optimizer were reset"
    )


def _rolled_back(data: Data) -> str:
    return (
        f"the loss exploded ({_value(data['loss'])}) at step {data['step']:,}: rolled back to the "
        f"weights of step {data['back_to']:,} and halved the learning rate to "
        f"{data['learning_rate']:.4g}"
    )


def _stopped_early(data: Data) -> str:
    return (
        f"stopped early at step {data['step']:,}: the validation loss has not improved since step "
        f"{data['best_step']:,} (patience {data['patience']})"
    )


def _inexact(data: Data) -> str:
    differences = ", ".join(
        f"{name.replace('_', ' ')} {change.get('asked', change.get('was'))} → "
        f"{change.get('got', change.get('is'))}"
        for name, change in data.items()
    )
    return f"continues, but not bit for bit: {differences}"


def _unusable(data: Data) -> str:
    return f"the checkpoint at step {data['step']:,} can't be used ({data['reason']})"


def _held_up(data: Data) -> str:
    return (
        f"the checkpoint at step {data['step']:,} was delayed by "
        f"{formatting.duration_in_words(data['seconds'])}: {data['reason']}"
    )


def _waits(data: Data) -> str:
    return f"the checkpoint at step {data['step']:,} waits: {data['reason']}"


_DESCRIPTIONS: dict[str, Callable[[Data], str]] = {
    "submitted": lambda _data: "submitted",
    "claimed": lambda data: f"claimed by {data['worker']}",
    "checkpoint": lambda data: f"checkpoint at step {data['step']:,}",
    "checkpoint_unusable": _unusable,
    "checkpoint_held_up": _held_up,
    "checkpoint_waits": _waits,
    "held_out": _held_out,
    "resumed": _resumed,
    "began_from": _began_from,
    "inexact": _inexact,
    "rolled_back": _rolled_back,
    "stopped_early": _stopped_early,
    "cancel_requested": lambda _data: "cancellation requested",
    "queued": lambda _data: "returned to the queue",
    "succeeded": _ended("succeeded"),
    "failed": _ended("failed"),
    "cancelled": lambda data: _ended("cancelled")(data) if data else "cancelled",
}
