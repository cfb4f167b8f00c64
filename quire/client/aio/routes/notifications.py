"""Webhooks and mails about jobs."""

from collections.abc import AsyncIterator

from quire.client.aio.base import AsyncBase, quote_segment
from quire.client.replies import Delivery, NewSecret, Notification, Secret


class AsyncNotifications(AsyncBase):
    """The operations on notifications, and on what was sent."""

    async def notify(
        self,
        *,
        url: str | None = None,
        mail: str | None = None,
        job: str | None = None,
        checkpoints: bool = False,
    ) -> Notification:
        """Ask to be told of the end of a job, or of all your trainings.

        Args:
            url: An address that gets a signed POST; give this, or `mail`.
            mail: An address that gets a mail.
            job: The job; None for all trainings that end from now.
            checkpoints: Whether to be told of each checkpoint, too.
        """
        fields = {"url": url, "mail": mail, "job": job, "checkpoints": checkpoints}
        body = {name: value for name, value in fields.items() if value is not None}
        return await self._post(Notification, "/v1/notifications", body)

    def notifications(self, job: str | None = None) -> AsyncIterator[Notification]:
        """List who is told of your jobs, newest first."""
        return self._list(Notification, "/v1/notifications", job=job)

    async def delete_notification(self, notification_id: str) -> None:
        """Tell somebody no more."""
        path = f"/v1/notifications/{quote_segment(notification_id)}"
        await self._transport.request("DELETE", path)

    async def send_test(self, *, url: str | None = None, mail: str | None = None) -> Delivery:
        """Send a message that tells nothing, to try an address; `delivery` says what became of it.

        Args:
            url: An address that gets a signed POST; give this, or `mail`.
            mail: An address that gets a mail.
        """
        body = {"url": url} if url is not None else {"mail": mail}
        return await self._post(Delivery, "/v1/notifications/test", body)

    async def delivery(self, delivery_id: str) -> Delivery:
        """Get a message, and each try to deliver it."""
        return await self._get(Delivery, f"/v1/deliveries/{quote_segment(delivery_id)}")

    def deliveries(self, job_id: str) -> AsyncIterator[Delivery]:
        """List what was sent about a job, newest first."""
        return self._list(Delivery, f"/v1/jobs/{quote_segment(job_id)}/deliveries")

    async def rotate_webhook_secret(self) -> NewSecret:
        """Make a new secret that your webhooks are signed with."""
        return await self._post(NewSecret, "/v1/webhooks/secret", None)

    def webhook_secrets(self) -> AsyncIterator[Secret]:
        """List when the secrets that your webhooks are signed with were made, newest first."""
        return self._list(Secret, "/v1/webhooks/secret")
