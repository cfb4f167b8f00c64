"""Groups of users, and their members."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from quire.client.aio.base import AsyncBase, quote_segment
from quire.client.replies.server import Group, Member


class AsyncGroups(AsyncBase):
    """The operations on groups. Groups and users are given by name or id."""

    def groups(self) -> AsyncIterator[Group]:
        """List the groups that the key's owner is in; as an admin, all groups."""
        return self._list(Group, "/v1/groups")

    async def group(self, group: str) -> Group:
        """Get a group."""
        return await self._get(Group, _path(group))

    async def create_group(self, name: str, fields: Mapping[str, Any] | None = None) -> Group:
        """Create a group (admins only).

        Args:
            name: Its name.
            fields: `ends_at` and caps: `max_…` of all members together, `member_max_…` of each.
        """
        return await self._post(Group, "/v1/groups", {"name": name, **(fields or {})})

    async def update_group(self, group: str, changes: Mapping[str, Any]) -> Group:
        """Change the end and the caps of a group; as a teacher, the caps of each member."""
        return await self._patch(Group, _path(group), changes)

    async def delete_group(self, group: str) -> None:
        """Delete a group (admins only); its members stay users."""
        await self._transport.request("DELETE", _path(group))

    def members(self, group: str) -> AsyncIterator[Member]:
        """List the members and teachers of a group (admins and its teachers)."""
        return self._list(Member, f"{_path(group)}/members")

    async def add_member(
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
        return await self._post(Member, f"{_path(group)}/members", body)

    async def set_member_role(self, group: str, user: str, role: str) -> Member:
        """Make a member a teacher, or a teacher a member (admins only)."""
        return await self._patch(
            Member, f"{_path(group)}/members/{quote_segment(user)}", {"role": role}
        )

    async def remove_member(self, group: str, user: str) -> None:
        """Remove a user from a group (admins and its teachers)."""
        await self._transport.request("DELETE", f"{_path(group)}/members/{quote_segment(user)}")


def _path(group: str) -> str:
    return f"/v1/groups/{quote_segment(group)}"
