"""The lock that serialises the claims of a kind."""

from sqlalchemy import Connection, bindparam, func, select

from shared.prepared import Prepared
from shared.tables import Kind

#: PostgreSQL advisory locks: one number per kind, with a prefix that keeps them apart from others.
CLAIM_LOCKS: dict[Kind, int] = {"train": 0x5155_0001, "generate": 0x5155_0002}
_LOCK = Prepared(select(func.pg_advisory_xact_lock(bindparam("key")).label("locked")))


def serialise_claims(connection: Connection, kind: Kind) -> None:
    """Hold back other claims of a kind until this transaction ends.

    Two claims at once would both count a user's running jobs before either adds one, and both
    pass the cap. On SQLite, BEGIN IMMEDIATE serialises the transactions already.
    """
    if connection.dialect.name == "postgresql":
        _LOCK.run(connection, {"key": CLAIM_LOCKS[kind]})
