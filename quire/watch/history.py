"""A job's events in words."""

from collections.abc import Callable, Mapping
from typing import Any

from quire.client.replies import Event
from quire.terminal import formatting

#: Told often, and found elsewhere: `quire checkpoints` lists them.
ROUTINE = frozenset({"checkpoint"})

Data = Mapping[str, Any]


def told(event: Event) -> str:
    """An event in words; one that this client does not know by its own name and numbers."""
    words = _WORDS.get(event.type, _by_itself(event.type))
    try:
        text = words(event.data)
    except (KeyError, TypeError, ValueError, AttributeError):  # a newer server says it otherwise
        text = _by_itself(event.type)(event.data)
    return f"{text} (attempt {event.attempt})" if _again(event) else text


def _again(event: Event) -> bool:
    return event.type == "claimed" and event.attempt > 1


def _by_itself(kind: str) -> Callable[[Data], str]:
    def words(data: Data) -> str:
        numbers = ", ".join(
            f"{name.replace('_', ' ')} {_value(value)}" for name, value in data.items()
        )
        plain = kind.replace("_", " ")
        return f"{plain}: {numbers}" if numbers else plain

    return words


def _value(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _took(status: str) -> Callable[[Data], str]:
    return lambda data: f"{status} after {formatting.duration(data['seconds'])}"


def _resumed(data: Data) -> str:
    return f"resumed from the checkpoint at step {data['step']:,}, epoch {data['epoch']:.1f}"


def _began_from(data: Data) -> str:
    if data["goes_on"]:
        return f"goes on from checkpoint {data['checkpoint']}, at step {data['step']:,}"
    return (
        f"begins with the weights of checkpoint {data['checkpoint']}; "
        "steps, schedule and optimizer begin anew"
    )


def _rolled_back(data: Data) -> str:
    return (
        f"the loss exploded ({_value(data['loss'])}) at step {data['step']:,}: back to the weights "
        f"of step {data['back_to']:,}, with half the learning rate ({data['learning_rate']:.4g})"
    )


def _stopped_early(data: Data) -> str:
    return (
        f"stopped early at step {data['step']:,}: no better validation since step "
        f"{data['best_step']:,} (patience {data['patience']})"
    )


def _inexact(data: Data) -> str:
    differences = ", ".join(
        f"{name.replace('_', ' ')} {each.get('asked', each.get('was'))} → "
        f"{each.get('got', each.get('is'))}"
        for name, each in data.items()
    )
    return f"goes on, but not to the bit: {differences}"


def _unusable(data: Data) -> str:
    return f"the checkpoint at step {data['step']:,} can't be used ({data['reason']})"


def _held_up(data: Data) -> str:
    return (
        f"the checkpoint at step {data['step']:,} had to wait for "
        f"{formatting.duration(data['seconds'])}: {data['reason']}"
    )


_WORDS: dict[str, Callable[[Data], str]] = {
    "submitted": lambda _data: "submitted",
    "claimed": lambda data: f"taken by {data['worker']}",
    "checkpoint": lambda data: f"checkpoint at step {data['step']:,}",
    "checkpoint_unusable": _unusable,
    "checkpoint_held_up": _held_up,
    "resumed": _resumed,
    "began_from": _began_from,
    "inexact": _inexact,
    "rolled_back": _rolled_back,
    "stopped_early": _stopped_early,
    "cancel_requested": lambda _data: "asked to stop",
    "queued": lambda _data: "back in the line",
    "succeeded": _took("succeeded"),
    "failed": _took("failed"),
    "cancelled": lambda data: _took("cancelled")(data) if data else "cancelled",
}
