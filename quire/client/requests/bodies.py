"""The bodies of requests, made from the arguments that Python programs give."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from quire.client.replies import Checkpoint, Job, Model
from quire.errors import InvalidInput

#: One temperature; or the first and the last of a text, as a pair or as ``{"from": …, "to": …}``.
Temperature = float | tuple[float, float] | Mapping[str, float]


def given(**fields: Any) -> dict[str, Any]:
    """Return the fields that were given: those that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def scheduling(
    priority: str | None,
    after: Job | str | None,
    start_before: datetime | str | None,
    deadline_seconds: float | None,
) -> dict[str, Any]:
    """Return the fields of a job that say when it may run."""
    if isinstance(start_before, datetime):
        # A time without a zone is one of this machine.
        start_before = start_before.astimezone().isoformat()
    return given(
        priority=priority,
        after=after.id if isinstance(after, Job) else after,
        start_before=start_before,
        deadline_seconds=deadline_seconds,
    )


def training(
    numbers: Mapping[str, Any],
    *,
    seconds: float | None,
    sample: bool | Mapping[str, Any] | None,
    **fields: Any,
) -> dict[str, Any]:
    """Return the body of a training without its corpus.

    Args:
        numbers: Changes to the preset's numbers; None is a value there, such as for `clip_norm`.
        seconds: The time budget.
        sample: Whether texts are written during the training, or how.
        fields: The other fields.
    """
    body = {**numbers, **given(**fields)}
    if seconds is not None:
        body["budget"] = {"seconds": seconds}
    if sample is not None:
        body["sample"] = ({} if sample else None) if isinstance(sample, bool) else dict(sample)
    return body


def checkpoint_to_start_from(start: Model | Checkpoint | str) -> str:
    """Return the id of the checkpoint that a training starts from.

    Raises:
        InvalidInput: The model has none.
    """
    if isinstance(start, str):
        return start
    if isinstance(start, Checkpoint):
        return start.id
    best = (start.checkpoints or {}).get("best")
    if best is None:
        raise InvalidInput(
            f"start_from: model {start.name!r} has no checkpoint yet: wait for its training"
        )
    return str(best)


def checkpoint_name(checkpoint: Checkpoint | str | None) -> str | None:
    """Return what a request calls a checkpoint: ``best``, ``latest``, or its id."""
    return checkpoint.id if isinstance(checkpoint, Checkpoint) else checkpoint


def refuse_with_corpus(field: str) -> NoReturn:
    """Refuse what says how a file is read, for a corpus that is read already.

    Raises:
        InvalidInput: Always.
    """
    raise InvalidInput(f"{field}: the corpus is at the server already. Leave one of both out")


def refuse_several(temperature: object, options: Mapping[str, Any]) -> None:
    """Refuse what makes several texts where one is returned.

    Raises:
        InvalidInput: There are several temperatures, or `n` is not 1.
    """
    if isinstance(temperature, list):
        raise InvalidInput("temperature: a list makes several texts: use generate_many")
    if options.get("n", 1) != 1:
        raise InvalidInput(f"n: {options['n']} makes several texts: use generate_many")


def sharing(group: str | None) -> dict[str, Any]:
    """Return the changes that share something with a group, or with everyone."""
    return {"visibility": "server"} if group is None else {"visibility": "group", "group": group}


def temperatures(given: Temperature | Sequence[Temperature] | None) -> Any:
    """Return the temperatures of a request; a pair means from the first to the last of a text."""
    if given is None or isinstance(given, int | float):
        return given
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, tuple):
        return _from_to(given)
    return [_from_to(each) if isinstance(each, tuple) else each for each in given]


def _from_to(pair: Sequence[Any]) -> dict[str, Any]:
    if len(pair) != 2:
        raise InvalidInput(
            f"temperature: {pair!r} is no pair: give the first and the last temperature of a text, "
            "or a list for several texts"
        )
    return {"from": pair[0], "to": pair[1]}
