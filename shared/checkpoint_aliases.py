"""The meaning of the checkpoint aliases `best` and `latest`, for the API and the workers.

`best` is the checkpoint with the lowest validation loss, and the newest among equals; checkpoints
without a validation come last. `latest` is the checkpoint of the highest step.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select

from shared.prepared import Prepared
from shared.tables import Checkpoint

_LATEST = (Checkpoint.step.desc(), Checkpoint.id.desc())
_BEST = (Checkpoint.val_loss.is_(None), Checkpoint.val_loss, *_LATEST)
_ORDERS = {"best": _BEST, "latest": _LATEST}
_OF_MODEL = select(Checkpoint.id, Checkpoint.size_bytes).where(
    Checkpoint.model_id == bindparam("model")
)
# Built once: they are part of the time to a text's first character.
_BY_NAME = {name: Prepared(_OF_MODEL.order_by(*order).limit(1)) for name, order in _ORDERS.items()}
_WITH_ID = _OF_MODEL.where(Checkpoint.id == bindparam("reference"))
_BY_ID = Prepared(_WITH_ID)
_USED_BY_ID = Prepared(_WITH_ID.with_for_update(read=True, key_share=True))
_OF_MANY = (
    select(
        Checkpoint.model_id,
        *(
            func.first_value(Checkpoint.id, type_=Checkpoint.id.type)
            .over(partition_by=Checkpoint.model_id, order_by=order)
            .label(name)
            for name, order in _ORDERS.items()
        ),
    )
    .where(Checkpoint.model_id.in_(bindparam("models", expanding=True)))
    .distinct()
)


@dataclass(frozen=True, slots=True)
class Aliases:
    """The ids of a model's `best` and `latest`; both are None, or neither."""

    best: str | None = None
    latest: str | None = None


@dataclass(frozen=True, slots=True)
class FoundCheckpoint:
    """A checkpoint by its id, and the size of its file."""

    id: str
    size_bytes: int


def read_checkpoint_ahead(connection: Connection, model_id: str, reference: str) -> None:
    """Send what `find_checkpoint` will read for a use."""
    values = {"model": model_id, "reference": reference}
    _BY_NAME.get(reference, _USED_BY_ID).ahead(connection, values)


def find_checkpoint(
    connection: Connection, model_id: str, reference: str, *, use: bool = False
) -> FoundCheckpoint | None:
    """Find a model's checkpoint; arguments and result as for `resolve`."""
    statement = _BY_NAME.get(reference, _USED_BY_ID if use else _BY_ID)
    row = statement.first(connection, {"model": model_id, "reference": reference})
    return None if row is None else FoundCheckpoint(row.id, row.size_bytes)


def resolve(
    connection: Connection, model_id: str, reference: str, *, use: bool = False
) -> str | None:
    """Return the id of a model's checkpoint.

    Args:
        connection: An open connection.
        model_id: The model's id.
        reference: ``best``, ``latest``, or the id of a checkpoint.
        use: Protect a checkpoint that is given by its id from deletion until the commit.

    Returns:
        None if the model has no checkpoint yet, or none with that id.
    """
    found = find_checkpoint(connection, model_id, reference, use=use)
    return None if found is None else found.id


def resolve_many(connection: Connection, model_ids: Collection[str]) -> dict[str, Aliases]:
    """Return the aliases of many models, in one statement; every id has an entry."""
    if not model_ids:
        return {}
    rows = connection.execute(_OF_MANY, {"models": list(model_ids)})
    found = {row.model_id: Aliases(row.best, row.latest) for row in rows}
    return {model_id: found.get(model_id, Aliases()) for model_id in model_ids}
