"""Jobs, their events and metrics, the queue, and the devices that run jobs."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from httpx2 import EventSource

from quire.client.aio.base import AsyncBase
from quire.client.replies import Event, Job, Metric, Text, TrainDryRun
from quire.client.replies.server import Device, FreedDevice, Queue


class AsyncJobs(AsyncBase):
    """The operations on jobs, the queue and the devices."""

    async def submit_training(self, body: Mapping[str, Any]) -> Job:
        """Submit a training; `body` is that of ``POST /v1/train``."""
        return await self._post(Job, "/v1/train", body)

    async def dry_run_train(self, body: Mapping[str, Any]) -> TrainDryRun:
        """Ask what a training would be, take and wait for. Nothing is stored."""
        return await self._post(TrainDryRun, "/v1/train", body, params={"dry_run": "true"})

    async def submit_generation(
        self, body: Mapping[str, Any], wait_seconds: int | None = None
    ) -> Job:
        """Submit a generation, and wait up to `wait_seconds` for its texts.

        `body` is that of ``POST /v1/generate``.
        """
        return await self._submit("/v1/generate", body, wait_seconds)

    async def submit_score(self, body: Mapping[str, Any], wait_seconds: int | None = None) -> Job:
        """Submit a text to be scored by a model, and wait up to `wait_seconds` for the result."""
        return await self._submit("/v1/score", body, wait_seconds)

    async def next_tokens(self, body: Mapping[str, Any], wait_seconds: int | None = None) -> Job:
        """Ask which tokens may follow a prompt, and wait up to `wait_seconds` for the result.

        The job's only text has it as `next`.
        """
        return await self._submit("/v1/next", body, wait_seconds)

    def jobs(self, **filters: str | None) -> AsyncIterator[Job]:
        """List the jobs that this key may see, newest first.

        Args:
            filters: kind, status, model or name.
        """
        return self._list(Job, "/v1/jobs", **filters)

    async def job(self, job_id: str) -> Job:
        """Get a job."""
        return await self._get(Job, f"/v1/jobs/{job_id}")

    def open_event_stream(
        self, job_id: str, last_event_id: str | None = None
    ) -> AbstractAsyncContextManager[EventSource]:
        """Open the event stream of a job; `stream_events` also reconnects and decodes it.

        Args:
            job_id: The job.
            last_event_id: Send only events after this one; None sends all.
        """
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        return self._transport.event_source(f"/v1/jobs/{job_id}/events", headers)

    def open_event_stream_of_jobs(
        self, job_ids: Sequence[str], last_event_id: str | None = None
    ) -> AbstractAsyncContextManager[EventSource]:
        """Open one event stream of several jobs; `stream_events_of_jobs` reconnects and decodes it.

        Args:
            job_ids: The jobs.
            last_event_id: Send only events after this one; None sends all.
        """
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        return self._transport.event_source(f"/v1/events?jobs={','.join(job_ids)}", headers)

    async def cancel_job(self, job_id: str) -> Job:
        """Request the cancellation of a job."""
        return await self._request_change(job_id, "cancel")

    async def pause_job(self, job_id: str) -> Job:
        """Request that a job pauses."""
        return await self._request_change(job_id, "pause")

    async def resume_job(self, job_id: str) -> Job:
        """Return a paused job to the queue."""
        return await self._request_change(job_id, "resume")

    async def promote_job(self, job_id: str) -> None:
        """Move a job to the front of the queue (admins only)."""
        await self._transport.request("POST", f"/v1/jobs/{job_id}/promote")

    async def rerun_job(self, job_id: str) -> Job:
        """Submit a new job with the spec of an existing one."""
        return await self._post(Job, f"/v1/jobs/{job_id}/rerun", None)

    def job_metrics(
        self,
        job_id: str,
        *,
        after: int | None = None,
        points: int | None = None,
        validation: bool | None = None,
    ) -> AsyncIterator[Metric]:
        """List the points of a training's loss curves, in the order of their steps.

        Args:
            job_id: The training.
            after: Only points after this step.
            points: Thin the curves to at most this many points.
            validation: Only points with a validation loss (True), or only those without (False).
        """
        path = f"/v1/jobs/{job_id}/metrics"
        return self._list(Metric, path, after=after, points=points, validation=validation)

    def job_history(self, job_id: str, *, after: int | None = None) -> AsyncIterator[Event]:
        """List the events in the history of a job; `after` leaves out ids up to that one."""
        return self._list(Event, f"/v1/jobs/{job_id}/history", after=after)

    def job_texts(self, job_id: str, *, after: int | None = None) -> AsyncIterator[Text]:
        """List the texts of a job in order; `after` leaves out steps up to that one."""
        return self._list(Text, f"/v1/jobs/{job_id}/texts", after=after)

    async def queue(self, kind: str | None = None, limit: int | None = None) -> Queue:
        """Get the lanes and the queued jobs in the order in which they will run."""
        return await self._get(Queue, "/v1/queue", kind=kind, limit=limit)

    def devices(self) -> AsyncIterator[Device]:
        """List the workers and their devices."""
        return self._list(Device, "/v1/devices")

    async def free_device(self, host: str, device: str) -> FreedDevice:
        """Let a broken or quarantined device take jobs again (admins only)."""
        return await self._post(FreedDevice, "/v1/devices/free", {"host": host, "device": device})

    async def _submit(self, path: str, body: Mapping[str, Any], wait_seconds: int | None) -> Job:
        return await self._post(
            Job,
            path,
            body,
            headers={"Prefer": f"wait={wait_seconds}"} if wait_seconds else None,
            read_seconds=self._transport.timeout + (wait_seconds or 0),
        )

    async def _request_change(self, job_id: str, action: str) -> Job:
        response = await self._transport.request("POST", f"/v1/jobs/{job_id}/{action}")
        return Job.model_validate(response.json())
