"""Users, their API keys, and their usage."""

from collections.abc import Iterator, Mapping
from typing import Any

from quire.client.base import ClientBase, quote_segment
from quire.client.server_replies import Key, Me, Usage, User


class Users(ClientBase):
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

    def create_key(self, user: str, name: str | None = None) -> Key:
        """Create a key; only this reply contains the key itself."""
        path = f"/v1/users/{quote_segment(user)}/keys"
        body = {} if name is None else {"name": name}
        created = self._post(Key, path, body)
        if created.key is None:
            # The first reply was lost and the key with it: a replayed reply never contains it.
            self.revoke_key(created.prefix)
            created = self._post(Key, path, body)
        return created

    def revoke_key(self, prefix: str) -> None:
        """Revoke a key, and sign out the browsers that are signed in with it."""
        self._transport.request("DELETE", f"/v1/keys/{quote_segment(prefix)}")

    def end_session(self, session_id: str) -> None:
        """Sign out one browser; `keys` lists the sessions of each key."""
        self._transport.request("DELETE", f"/v1/sessions/{quote_segment(session_id)}")

    def usage(self, user: str | None = None) -> Usage:
        """Get the usage and caps of a user; without a name, those of the key's owner."""
        return self._get(Usage, f"/v1/usage/{quote_segment(user)}" if user else "/v1/usage")

    def set_caps(self, user: str, changes: Mapping[str, Any]) -> Usage:
        """Change the share and caps of a user (admins only)."""
        return self._patch(Usage, f"/v1/usage/{quote_segment(user)}", changes)
