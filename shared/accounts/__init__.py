"""Accounts: users, their API keys and what those may do, and enrolments."""

from shared.accounts.enrolments import (
    EnrolmentRefused,
    create_enrolment,
    find_open,
    redeem,
    revoke_enrolment,
    state_of,
)
from shared.accounts.keys import (
    KEY_PATTERN,
    KeyRefused,
    NewKey,
    Owner,
    create_key,
    owner_of_key,
    owner_of_prefix,
    refusals_of,
    revoke_key,
)
from shared.accounts.scopes import Scope, ScopesBeyondRole, in_order, scopes_of_role
from shared.accounts.users import (
    NAME_PATTERN,
    BadName,
    BadRole,
    LastAdmin,
    NameTaken,
    create_user,
    disable_user,
    enable_user,
)

__all__ = [
    "KEY_PATTERN",
    "NAME_PATTERN",
    "BadName",
    "BadRole",
    "EnrolmentRefused",
    "KeyRefused",
    "LastAdmin",
    "NameTaken",
    "NewKey",
    "Owner",
    "Scope",
    "ScopesBeyondRole",
    "create_enrolment",
    "create_key",
    "create_user",
    "disable_user",
    "enable_user",
    "find_open",
    "in_order",
    "owner_of_key",
    "owner_of_prefix",
    "redeem",
    "refusals_of",
    "revoke_enrolment",
    "revoke_key",
    "scopes_of_role",
    "state_of",
]
