"""The operations of those who run the server: drain, announce, look at the disk."""

from quire.client.aio.base import AsyncBase
from quire.client.replies.server import Announcement, CurrentAnnouncement, Drained, Storage


class AsyncOperations(AsyncBase):
    """Draining, announcements and the disk; most of it is for admins."""

    async def drain(self, host: str, device: str | None = None) -> Drained:
        """Ask the workers of a host, or of one device, to return their jobs (admins only)."""
        body = {"host": host} if device is None else {"host": host, "device": device}
        return await self._post(Drained, "/v1/devices/drain", body)

    async def announcement(self) -> Announcement | None:
        """Get what is announced to all users now."""
        return (await self._get(CurrentAnnouncement, "/v1/announcement")).announcement

    async def announce(
        self, text: str, *, level: str = "info", ends_at: str | None = None
    ) -> Announcement:
        """Announce something to all users, in place of what was announced (admins only)."""
        body = {"text": text, "level": level}
        if ends_at is not None:
            body["ends_at"] = ends_at
        return await self._post(Announcement, "/v1/announcement", body)

    async def end_announcement(self) -> None:
        """End what is announced (admins only)."""
        await self._transport.request("DELETE", "/v1/announcement")

    async def storage(self) -> Storage:
        """Get what is stored on the server, and how much of its disk is free (admins only)."""
        return await self._get(Storage, "/v1/storage")
