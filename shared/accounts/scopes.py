"""Scopes: what a key may be used for.

`read` lists and reads. `submit` uploads texts, and submits and controls jobs. `manage` changes,
shares and deletes what exists, and makes keys. `admin` manages the server and its users. `metrics`
reads what `/metrics` tells of the whole server. A key may do what both its scopes and its user's
role allow. No scope contains another one.
"""

from collections.abc import Collection
from typing import Literal

from shared.tables import SCOPES, User

Scope = Literal["read", "submit", "manage", "admin", "metrics"]


#: The scopes that only keys of admins may have.
OF_ADMINS = frozenset({"admin", "metrics"})


class ScopesBeyondRole(ValueError):
    """A key would have scopes that its user's role does not allow."""

    def __init__(self, scopes: Collection[str], name: str, role: str) -> None:
        super().__init__(
            f"{name} is a {role}, whose keys can't have {_listed(scopes)}: "
            f"leave it out, or choose among {_listed(scopes_of_role(role))}"
        )


def scopes_of_role(role: str) -> frozenset[str]:
    """Return the scopes that users of a role may use."""
    return frozenset(SCOPES) if role == "admin" else frozenset(SCOPES) - OF_ADMINS


def in_order(scopes: Collection[str]) -> list[str]:
    """Return scopes in the order in which they are shown and stored."""
    return [scope for scope in SCOPES if scope in scopes]


def scopes_for(user: User, wanted: Collection[str] | None) -> list[str]:
    """Return the scopes that a new key of a user gets, in order.

    Args:
        user: The owner of the key.
        wanted: The scopes; by default all that the owner's role allows.

    Raises:
        ScopesBeyondRole: The role does not allow one of them.
    """
    allowed = scopes_of_role(user.role)
    if wanted is None:
        return in_order(allowed)
    if beyond := set(wanted) - allowed:
        raise ScopesBeyondRole(beyond, user.name, user.role)
    return in_order(wanted)


def _listed(scopes: Collection[str]) -> str:
    return ", ".join(in_order(scopes))
