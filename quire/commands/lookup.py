"""What people type, a name or an id, made into the one thing it names."""

import uuid
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from quire.client import Client
from quire.client.replies import Corpus, Job, Model
from quire.client.transport import ApiError
from quire.errors import InvalidInput, NotFound


class _Named(Protocol):
    @property
    def id(self) -> str: ...


N = TypeVar("N", bound=_Named)


def find_corpus(client: Client, reference: str) -> Corpus:
    """A corpus by name or id."""
    return _find("corpus", "quire corpus list", reference, client.corpus, client.corpora)


def find_model(client: Client, reference: str) -> Model:
    """A model by name or id."""
    return _find("model", "quire models", reference, client.model, client.models)


def find_job(client: Client, reference: str, kind: str | None = None) -> Job:
    """A job by name or id; by name only one of that kind, if any is given.

    Names of jobs repeat: a generation is called as its model. One that has not ended
    is meant before those that have.
    """

    def named(name: str) -> Iterable[Job]:
        found = list(client.jobs(name=name, kind=kind))
        live = [job for job in found if not job.ended]
        return live if len(live) == 1 else found

    return _find("job", "quire jobs", reference, client.job, named)


def is_id(reference: str) -> bool:
    """Whether it has the form of an id."""
    try:
        uuid.UUID(reference)
    except ValueError:
        return False
    return True


def _find(
    what: str,
    command: str,
    reference: str,
    by_id: Callable[[str], N],
    by_name: Callable[[str], Iterable[N]],
) -> N:
    if is_id(reference):
        try:
            return by_id(reference)
        except ApiError as error:
            if error.status != 404:
                raise
            raise NotFound(f"no {what} has the id {reference}: `{command}` lists them") from None
    found = [item for item in by_name(reference) if getattr(item, "name", None) == reference]
    if not found:
        raise NotFound(f"no {what} is called {reference!r}: `{command}` lists them")
    if len(found) > 1:
        ids = ", ".join(item.id for item in found)
        raise InvalidInput(f"{reference!r} is ambiguous ({what}): say which by its id: {ids}")
    return found[0]
