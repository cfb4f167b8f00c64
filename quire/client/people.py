"""The server's people: who they are, their keys, and what they may have."""

from collections.abc import Iterator, Mapping
from typing import Any

from quire.client.base import Base, in_path
from quire.client.server_replies import Key, Me, Usage, User


class People(Base):
    """Users, keys and usage."""

    def me(self) -> Me:
        """Who owns the key."""
        return self._get(Me, "/v1/me")

    def users(self) -> Iterator[User]:
        """Everybody (admins only)."""
        return self._list(User, "/v1/users")

    def create_user(self, name: str, role: str) -> User:
        """Make a user (admins only)."""
        return self._post(User, "/v1/users", {"name": name, "role": role})

    def disable_user(self, user: str) -> User:
        """Stop a user's keys, and let their jobs wait (admins only)."""
        return self._patch(User, f"/v1/users/{in_path(user)}", {"disabled": True})

    def enable_user(self, user: str) -> User:
        """Let a user's keys and jobs go on (admins only)."""
        return self._patch(User, f"/v1/users/{in_path(user)}", {"disabled": False})

    def keys(self, user: str) -> Iterator[Key]:
        """The keys of a user, by name or id."""
        return self._list(Key, f"/v1/users/{in_path(user)}/keys")

    def create_key(self, user: str, name: str | None = None) -> Key:
        """Make a key; only this answer holds the key itself."""
        path = f"/v1/users/{in_path(user)}/keys"
        body = {} if name is None else {"name": name}
        made = self._post(Key, path, body)
        if made.key is None:
            # The first answer was lost on its way and the key with it: a replay never shows it.
            self.revoke_key(made.prefix)
            made = self._post(Key, path, body)
        return made

    def revoke_key(self, prefix: str) -> None:
        """Make a key worthless."""
        self._transport.request("DELETE", f"/v1/keys/{in_path(prefix)}")

    def usage(self, user: str | None = None) -> Usage:
        """What a user has used, and may use; the key's own without a name."""
        return self._get(Usage, f"/v1/usage/{in_path(user)}" if user else "/v1/usage")

    def set_caps(self, user: str, changes: Mapping[str, Any]) -> Usage:
        """Change a user's share and caps (admins)."""
        return self._patch(Usage, f"/v1/usage/{in_path(user)}", changes)
