"""Share links: make, list and revoke them, and read what one shows."""

from collections.abc import Iterator

from quire.client.base import ClientBase, quote_segment
from quire.client.replies import NewShare, Share, Shared


class Shares(ClientBase):
    """The operations on share links."""

    def share(
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
        return self._post(NewShare, "/v1/shares", body)

    def shares(self) -> Iterator[Share]:
        """List your share links that have not expired, newest first."""
        return self._list(Share, "/v1/shares")

    def revoke_share(self, share_id: str) -> None:
        """Revoke a share link."""
        self._transport.request("DELETE", f"/v1/shares/{share_id}")

    def shared(self, token: str) -> Shared:
        """Read what a share link shows; this needs no key."""
        return self._get(Shared, f"/v1/shared/{quote_segment(token)}")
