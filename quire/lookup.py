"""Find a corpus, a model or a job by the name or id that a person typed."""

import uuid
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from quire.client import Client
from quire.client.replies import Corpus, Job, Model
from quire.client.transport import ApiError
from quire.errors import InvalidInput, NotFound
from quire.terminal import formatting


class _Named(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str | None: ...


N = TypeVar("N", bound=_Named)

PLURALS = {"corpus": "corpora", "model": "models", "job": "jobs"}


def find_corpus(client: Client, reference: str) -> Corpus:
    """Find a corpus by name or id."""
    return _find("corpus", "quire corpus list", reference, client.corpus, client.corpora)


def find_model(client: Client, reference: str) -> Model:
    """Find a model by name or id."""
    return _find("model", "quire models", reference, client.model, client.models)


def find_deleted_corpus(client: Client, reference: str) -> Corpus:
    """Find a corpus that was deleted and can be restored, by name or id."""
    return _find_deleted("corpus", "quire corpus list --deleted", reference, client.corpora)


def find_deleted_model(client: Client, reference: str) -> Model:
    """Find a model that was deleted and can be restored, by name or id."""
    return _find_deleted("model", "quire models --deleted", reference, client.models)


def find_job(client: Client, reference: str) -> Job:
    """Find the job that a command changes or waits for, by name or id.

    Names of jobs repeat, since a generation has the name of its model. If exactly one job of
    the name has not ended, that one is meant.
    """

    def by_name(name: str) -> Iterable[Job]:
        jobs = list(client.jobs(name=name))
        active = [job for job in jobs if not job.ended]
        return active if len(active) == 1 else jobs

    return _find("job", "quire jobs", reference, client.job, by_name)


def find_newest_job(client: Client, reference: str, *kinds: str) -> Job:
    """Find a job to look at, by id, or the newest one of a name.

    Args:
        client: The server.
        reference: A name or an id.
        kinds: By name, look for jobs of the first kind, then of the next; without any, of all.
    """

    def by_name(name: str) -> Iterable[Job]:
        for kind in kinds or (None,):
            for job in client.jobs(name=name, kind=kind):  # newest first
                return [job]
        return []

    return _find("job", "quire jobs", reference, client.job, by_name)


def is_id(reference: str) -> bool:
    """Return whether a reference has the form of an id."""
    try:
        uuid.UUID(reference)
    except ValueError:
        return False
    return True


def _find_deleted(
    resource: str, list_command: str, reference: str, listed: Callable[..., Iterable[N]]
) -> N:
    def by_id(id: str) -> N:
        for item in listed(deleted=True):
            if item.id == id.lower():
                return item
        raise NotFound(f"no deleted {resource} has the id {id}: `{list_command}` lists them")

    return _find(
        resource, list_command, reference, by_id, lambda name: listed(name=name, deleted=True)
    )


def _find(
    resource: str,
    list_command: str,
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
            raise NotFound(
                f"no {resource} has the id {reference}: `{list_command}` lists them"
            ) from None
    matches = [item for item in by_name(reference) if item.name == reference]
    if not matches:
        raise NotFound(f"no {resource} is called {reference!r}: `{list_command}` lists them")
    if len(matches) > 1:
        ids = ", ".join(_described(item) for item in matches)
        raise InvalidInput(
            f"several {PLURALS[resource]} are called {reference!r}: use one of their ids: {ids}"
        )
    return matches[0]


def _described(item: _Named) -> str:
    if not isinstance(item, Job):
        return item.id
    return f"{item.id} ({item.kind}, {item.status}, {formatting.when(item.created_at)})"
