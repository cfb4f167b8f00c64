"""Server-Sent Events of a job, followed through a server's restarts."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from rich.markup import escape

from quire.client import Client
from quire.client.replies import Job
from quire.client.transport import ApiError
from quire.errors import ServerUnreachable
from quire.terminal.console import note
from quire.watch.follow import POLL_SECONDS, patiently

#: When to ask a server again that can't be listened to now, where it does not say.
RETRY_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Told:
    """One event.

    Attributes:
        kind: ``state``, ``piece``, ``metrics`` or ``text``.
        data: As ``GET /v1/jobs/{id}/events`` describes it.
        id: What a listener comes back with; None where it can't come back there.
    """

    kind: str
    data: dict[str, Any]
    id: str | None


def listen(client: Client, job: Job) -> Iterator[Told]:
    """Follow a job until it has ended.

    Events that came before a break come again only where the server has lost the job's stream.
    Where too many listen, the job is asked for until there is room, or until it has ended: then
    its texts and its last state are told as the server would have told them.

    Raises:
        ServerUnreachable: The server was away for longer than following has patience.
        ApiError: It refused.
    """
    last_id: str | None = None
    ended = was_refused = False
    while not ended:
        # Where the server is away, this waits until it is back.
        job = patiently(partial(client.job, job.id))
        ended = job.ended
        try:
            with client.events(job.id, last_id) as lines:
                for told in read(lines):
                    last_id = told.id or last_id
                    yield told
                    if told.kind == "state" and Job.model_validate(told.data).ended:
                        return
        except ServerUnreachable:
            ended = False
        except ApiError as error:
            if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            if not was_refused:
                note(f"[dim]{escape(error.problem.title)}: asking again until the job has ended[/]")
            was_refused = True
            if ended:
                yield from _of_rows(client, job)
            else:
                _wait(client, job, error.retry_seconds or RETRY_SECONDS)


def _wait(client: Client, job: Job, seconds: float) -> None:
    """Wait for so long, or until a job has ended."""
    until = time.monotonic() + seconds
    while not job.ended and (left := until - time.monotonic()) > 0:
        time.sleep(min(POLL_SECONDS, left))
        job = patiently(partial(client.job, job.id))


def _of_rows(client: Client, job: Job) -> Iterator[Told]:
    """What a listener of an ended job is told."""
    for text in patiently(lambda: list(client.job_texts(job.id))):
        yield Told("text", text.as_json(), None)
    state = job.as_json()
    state.pop("texts", None)
    yield Told("state", state, None)


def read(lines: Iterable[str]) -> Iterator[Told]:
    """The events in the lines of a stream."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
            continue
        if "event" in fields:
            yield Told(fields["event"], json.loads(fields["data"]), fields.get("id"))
        fields = {}
