"""Server-Sent Events of a job, followed through a server's restarts."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cli.client import Client
from cli.errors import ServerUnreachable
from cli.follow import patiently
from cli.replies import Job


@dataclass(frozen=True, slots=True)
class Told:
    """One event.

    Attributes:
        kind: ``state``, ``piece``, ``metrics`` or ``text``.
        data: As ``GET /v1/jobs/{id}/events`` describes it.
        id: What a listener comes back with.
    """

    kind: str
    data: dict[str, Any]
    id: str | None


def listen(client: Client, job: Job) -> Iterator[Told]:
    """Follow a job until it has ended; events that came before a break don't come again.

    Raises:
        ServerUnreachable: The server was away for longer than following has patience.
        ApiError: It refused.
    """
    last_id: str | None = None
    ended = False
    while not ended:
        # Where the server is away, this waits until it is back.
        ended = patiently(lambda: client.job(job.id)).ended
        try:
            with client.events(job.id, last_id) as lines:
                for told in read(lines):
                    last_id = told.id or last_id
                    yield told
                    if told.kind == "state" and Job.model_validate(told.data).ended:
                        return
        except ServerUnreachable:
            ended = False


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
