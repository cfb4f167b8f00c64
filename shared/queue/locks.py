"""The lock that serialises the claims of a kind."""

from sqlalchemy import Connection, text

from shared.tables import Kind

#: PostgreSQL advisory locks: one number per kind, with a prefix that keeps them apart from others.
CLAIM_LOCKS: dict[Kind, int] = {"train": 0x5155_0001, "generate": 0x5155_0002}


def serialise_claims(connection: Connection, kind: Kind) -> None:
    """Hold back other claims of a kind until this transaction ends.

    Two claims at once would both count a user's running jobs before either adds one, and both
    pass the cap. On SQLite, BEGIN IMMEDIATE serialises the transactions already.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": CLAIM_LOCKS[kind]})
