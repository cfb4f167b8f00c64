# Written by `make client` from quire/client/aio/routes/groups.py: change that file.
"""Groups of users, and their members."""

from collections.abc import Iterator, Mapping
from typing import Any

from quire.client.replies.server import Group, Member
from quire.client.sync.base import Base, quote_segment


class Groups(Base):
    """The operations on groups. Groups and users are given by name or id."""

    def groups(self) -> Iterator[Group]:
        """List the groups that the key's owner is in; as an admin, all groups."""
        return self._list(Group, "/v1/groups")

    def group(self, group: str) -> Group:
        """Get a group."""
        return self._get(Group, _path(group))

    def create_group(self, name: str, fields: Mapping[str, Any] | None = None) -> Group:
        """Create a group (admins only).

        Args:
            name: Its name.
            fields: `ends_at` and caps: `max_…` of all members together, `member_max_…` of each.
        """
        return self._post(Group, "/v1/groups", {"name": name, **(fields or {})})

    def update_group(self, group: str, changes: Mapping[str, Any]) -> Group:
        """Change the end and the caps of a group; as a teacher, the caps of each member."""
        return self._patch(Group, _path(group), changes)

    def delete_group(self, group: str) -> None:
        """Delete a group (admins only); its members stay users."""
        self._transport.request("DELETE", _path(group))

    def members(self, group: str) -> Iterator[Member]:
        """List the members and teachers of a group (admins and its teachers)."""
        return self._list(Member, f"{_path(group)}/members")

    def add_member(
        self, group: str, user: str, role: str = "member", *, create: bool = False
    ) -> Member:
        """Add a user to a group (admins and its teachers).

        Args:
            group: The group.
            user: The user, or the name of a new one.
            role: ``member`` or ``teacher``.
            create: Make a new user of this name, without a key.
        """
        body = {"user": user, "role": role, "create": create}
        return self._post(Member, f"{_path(group)}/members", body)

    def set_member_role(self, group: str, user: str, role: str) -> Member:
        """Make a member a teacher, or a teacher a member (admins only)."""
        return self._patch(Member, f"{_path(group)}/members/{quote_segment(user)}", {"role": role})

    def remove_member(self, group: str, user: str) -> None:
        """Remove a user from a group (admins and its teachers)."""
        self._transport.request("DELETE", f"{_path(group)}/members/{quote_segment(user)}")


def _path(group: str) -> str:
    return f"/v1/groups/{quote_segment(group)}"
