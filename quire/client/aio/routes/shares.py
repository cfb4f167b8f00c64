"""Share links: make, list and revoke them, and read what one shows."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from httpx2 import EventSource

from quire.client.aio.base import AsyncBase, quote_segment
from quire.client.replies import Event, Metric, NewShare, Share, Shared, Text


class AsyncShares(AsyncBase):
    """The operations on share links."""

    async def share(
        self, *, job: str | None = None, text: str | None = None, expires_at: str | None = None
    ) -> NewShare:
        """Make a link that shows a job or a text to whoever has it.

        Args:
            job: The job's id; or give `text`.
            text: The text's id.
            expires_at: Until when (RFC 3339); the server's default by default.
        """
        fields = {"job": job, "text": text, "expires_at": expires_at}
        body = {name: value for name, value in fields.items() if value is not None}
        return await self._post(NewShare, "/v1/shares", body)

    def shares(self) -> AsyncIterator[Share]:
        """List your share links that have not expired, newest first."""
        return self._list(Share, "/v1/shares")

    async def revoke_share(self, share_id: str) -> None:
        """Revoke a share link."""
        await self._transport.request("DELETE", f"/v1/shares/{share_id}")

    async def shared(self, token: str) -> Shared:
        """Read what a share link shows; this needs no key."""
        return await self._get(Shared, _path(token))

    def shared_metrics(self, token: str, *, points: int | None = None) -> AsyncIterator[Metric]:
        """List the points of a shared training's loss curves, thinned to `points` of them."""
        return self._list(Metric, f"{_path(token)}/metrics", points=points)

    def shared_texts(self, token: str, *, after: int | None = None) -> AsyncIterator[Text]:
        """List the texts of a shared job in order; `after` leaves out steps up to that one."""
        return self._list(Text, f"{_path(token)}/texts", after=after)

    def shared_history(self, token: str, *, after: int | None = None) -> AsyncIterator[Event]:
        """List the starts, pauses, resumes and rollbacks of a shared job, oldest first."""
        return self._list(Event, f"{_path(token)}/history", after=after)

    def open_event_stream_of_share(
        self, token: str, last_event_id: str | None = None
    ) -> AbstractAsyncContextManager[EventSource]:
        """Open the event stream of a shared job.

        Args:
            token: The link's token.
            last_event_id: Send only events after this one; None sends all.
        """
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        return self._transport.event_source(f"{_path(token)}/events", headers)


def _path(token: str) -> str:
    return f"/v1/shared/{quote_segment(token)}"
