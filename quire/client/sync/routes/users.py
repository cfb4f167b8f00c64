# Written by `make client` from quire/client/aio/routes/users.py: change that file.
"""Users, their API keys, and their usage."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from quire.client.replies.server import AuditEvent, Enrolment, Key, Me, Usage, User
from quire.client.sync.base import Base, quote_segment


class Users(Base):
    """The operations on users, keys and usage."""

    def me(self) -> Me:
        """Get the owner of the key in use."""
        return self._get(Me, "/v1/me")

    def users(self) -> Iterator[User]:
        """List all users (admins only)."""
        return self._list(User, "/v1/users")

    def create_user(self, name: str, role: str) -> User:
        """Create a user (admins only)."""
        return self._post(User, "/v1/users", {"name": name, "role": role})

    def disable_user(self, user: str) -> User:
        """Disable a user: their keys stop working and their jobs wait (admins only)."""
        return self._patch(User, f"/v1/users/{quote_segment(user)}", {"disabled": True})

    def enable_user(self, user: str) -> User:
        """Enable a disabled user: their keys work and their jobs run again (admins only)."""
        return self._patch(User, f"/v1/users/{quote_segment(user)}", {"disabled": False})

    def keys(self, user: str) -> Iterator[Key]:
        """List the keys of a user, given by name or id."""
        return self._list(Key, f"/v1/users/{quote_segment(user)}/keys")

    def create_key(
        self,
        user: str,
        name: str | None = None,
        *,
        scopes: Sequence[str] | None = None,
        expires_at: str | None = None,
    ) -> Key:
        """Create a key; only this reply contains the key itself.

        Args:
            user: Its owner, by name or id.
            name: What it is for.
            scopes: What it may be used for; by default all that the owner's role allows.
            expires_at: From when on it is refused (RFC 3339); by default never.
        """
        path = f"/v1/users/{quote_segment(user)}/keys"
        body = _given(name=name, scopes=scopes, expires_at=expires_at)
        created = self._post(Key, path, body)
        if created.key is None:
            # The first reply was lost and the key with it: a replayed reply never contains it.
            self.revoke_key(created.prefix)
            created = self._post(Key, path, body)
        return created

    def revoke_key(self, prefix: str) -> None:
        """Revoke a key, and sign out the browsers that are signed in with it."""
        self._transport.request("DELETE", f"/v1/keys/{quote_segment(prefix)}")

    def create_enrolment(
        self, user: str, *, scopes: Sequence[str] | None = None, expires_at: str | None = None
    ) -> Enrolment:
        """Make a one-time link with which a user makes a key; only this reply contains it.

        Args:
            user: The user, by name or id.
            scopes: What the key may be used for; by default all that the user's role allows.
            expires_at: Until when the link can be redeemed (RFC 3339).
        """
        path = f"/v1/users/{quote_segment(user)}/enrolments"
        body = _given(scopes=scopes, expires_at=expires_at)
        created = self._post(Enrolment, path, body)
        if created.link is None:
            # As with keys: the first reply was lost, and the link with it.
            self.revoke_enrolment(created.id)
            created = self._post(Enrolment, path, body)
        return created

    def enrolments(self, user: str) -> Iterator[Enrolment]:
        """List the one-time links of a user, given by name or id."""
        return self._list(Enrolment, f"/v1/users/{quote_segment(user)}/enrolments")

    def revoke_enrolment(self, enrolment: str) -> None:
        """Revoke a one-time link, given by its id."""
        self._transport.request("DELETE", f"/v1/enrolments/{quote_segment(enrolment)}")

    def redeem_enrolment(self, token: str, name: str) -> str:
        """Redeem a one-time link, which needs no key; return the key that it makes.

        It is sent once: if the reply is lost, so is the key, and the link is used up.

        Args:
            token: What follows the `#` in the link.
            name: What the key is for.
        """
        body = {"token": token, "name": name}
        response = self._transport.request("POST", "/v1/enrol", body=body)
        return str(response.json()["key"])

    def audit(
        self,
        *,
        action: str | None = None,
        user: str | None = None,
        address: str | None = None,
        key_prefix: str | None = None,
        since: str | None = None,
    ) -> Iterator[AuditEvent]:
        """List what was done, newest first (admins only).

        Args:
            action: What was done, such as ``key.created``.
            user: The name of who did it, or whom it concerns.
            address: From where it was done.
            key_prefix: The prefix of the key that it was done with.
            since: Not what was done before this time (RFC 3339).
        """
        return self._list(
            AuditEvent,
            "/v1/audit",
            action=action,
            user=user,
            address=address,
            key_prefix=key_prefix,
            since=since,
        )

    def end_session(self, session_id: str) -> None:
        """Sign out one browser; `keys` lists the sessions of each key."""
        self._transport.request("DELETE", f"/v1/sessions/{quote_segment(session_id)}")

    def usage(self, user: str | None = None) -> Usage:
        """Get the usage and caps of a user; without a name, those of the key's owner."""
        return self._get(Usage, f"/v1/usage/{quote_segment(user)}" if user else "/v1/usage")

    def set_caps(self, user: str, changes: Mapping[str, Any]) -> Usage:
        """Change the share and caps of a user (admins only)."""
        return self._patch(Usage, f"/v1/usage/{quote_segment(user)}", changes)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
