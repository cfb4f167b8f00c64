"""Jobs and their course, the line that they wait in, and the devices that run them."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from quire.client.base import Base
from quire.client.replies import Event, Job, Metric, Text
from quire.client.server_replies import Device, Queue
from quire.client.transport import READ_SECONDS


class Jobs(Base):
    """Jobs, the line and the devices."""

    def train(self, body: Mapping[str, Any]) -> Job:
        """Submit a training; `body` is that of ``POST /v1/train``."""
        return self._post(Job, "/v1/train", body)

    def generate(self, body: Mapping[str, Any], wait_seconds: int | None = None) -> Job:
        """Submit a generation, and wait up to `wait_seconds` for its texts."""
        return self._submit("/v1/generate", body, wait_seconds)

    def score(self, body: Mapping[str, Any], wait_seconds: int | None = None) -> Job:
        """Ask how likely a model finds a text, and wait up to `wait_seconds` for the answer."""
        return self._submit("/v1/score", body, wait_seconds)

    def jobs(self, **filters: str | None) -> Iterator[Job]:
        """The jobs this key may see, newest first; filters: kind, status, model, name."""
        return self._list(Job, "/v1/jobs", **filters)

    def job(self, job_id: str) -> Job:
        """One job."""
        return self._get(Job, f"/v1/jobs/{job_id}")

    def events(
        self, job_id: str, last_id: str | None = None
    ) -> AbstractContextManager[Iterator[str]]:
        """The lines of a job's events, from the first or behind the one of `last_id` on."""
        headers = {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        return self._transport.lines(f"/v1/jobs/{job_id}/events", headers)

    def cancel_job(self, job_id: str) -> Job:
        """Ask for a job's end."""
        return self._ask(job_id, "cancel")

    def pause_job(self, job_id: str) -> Job:
        """Let a job stand still."""
        return self._ask(job_id, "pause")

    def resume_job(self, job_id: str) -> Job:
        """Put a paused job back into the line."""
        return self._ask(job_id, "resume")

    def lift_job(self, job_id: str) -> None:
        """Put a job above all others (admins)."""
        self._transport.request("POST", f"/v1/jobs/{job_id}/lift")

    def rerun_job(self, job_id: str) -> Job:
        """Submit a job again as it was."""
        return self._post(Job, f"/v1/jobs/{job_id}/rerun", None)

    def job_metrics(
        self,
        job_id: str,
        *,
        after: int | None = None,
        points: int | None = None,
        validation: bool | None = None,
    ) -> Iterator[Metric]:
        """The loss curves of a training, from its first step on.

        Args:
            job_id: The training.
            after: Only steps beyond this one.
            points: Thin the curves to so many points at most.
            validation: Only points with a validation loss, or only those without.
        """
        path = f"/v1/jobs/{job_id}/metrics"
        return self._list(Metric, path, after=after, points=points, validation=validation)

    def job_history(self, job_id: str, *, after: int | None = None) -> Iterator[Event]:
        """What happened to a job, in order; only events whose id is beyond `after`."""
        return self._list(Event, f"/v1/jobs/{job_id}/history", after=after)

    def job_texts(self, job_id: str, *, after: int | None = None) -> Iterator[Text]:
        """The texts of one job in their order; only those of steps beyond `after`."""
        return self._list(Text, f"/v1/jobs/{job_id}/texts", after=after)

    def queue(self, kind: str | None = None, limit: int | None = None) -> Queue:
        """The lines, and who stands where in them."""
        return self._get(Queue, "/v1/queue", kind=kind, limit=limit)

    def devices(self) -> Iterator[Device]:
        """The workers and what each holds."""
        return self._list(Device, "/v1/devices")

    def _submit(self, path: str, body: Mapping[str, Any], wait_seconds: int | None) -> Job:
        return self._post(
            Job,
            path,
            body,
            headers={"Prefer": f"wait={wait_seconds}"} if wait_seconds else None,
            read_seconds=READ_SECONDS + (wait_seconds or 0),
        )

    def _ask(self, job_id: str, what: str) -> Job:
        response = self._transport.request("POST", f"/v1/jobs/{job_id}/{what}")
        return Job.model_validate(response.json())
