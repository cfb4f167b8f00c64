"""Migrations: up, down, and in agreement with the models."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, bindparam, inspect, text

from migrations.migrate import current, downgrade, newest, upgrade
from shared.database import make_engine
from shared.ids import new_id
from shared.tables import Base, Id

NOWHERE = "01890a5d-ac96-774b-bcce-b302099a8057"


def tables(url: str) -> set[str]:
    engine = make_engine(url)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names - {"alembic_version"}


def test_an_empty_database_goes_up_and_down_again(empty_database_url: str) -> None:
    url = empty_database_url
    assert current(url) is None
    upgrade(url)
    assert current(url) == newest()
    assert tables(url) == set(Base.metadata.tables)
    downgrade(url)
    assert current(url) is None
    assert tables(url) == set()
    upgrade(url)
    assert tables(url) == set(Base.metadata.tables)


def test_models_and_migrations_agree(empty_database_url: str) -> None:
    upgrade(empty_database_url)
    engine = make_engine(empty_database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []
        for table in Base.metadata.tables.values():
            checks = {
                check["name"] for check in inspect(connection).get_check_constraints(table.name)
            }
            expected = {
                constraint.name
                for constraint in table.constraints
                if isinstance(constraint, CheckConstraint)
            }
            assert checks == expected, table.name
    engine.dispose()


def test_a_forgotten_column_would_be_noticed(empty_database_url: str) -> None:
    """The comparison above fails for a missing column."""
    upgrade(empty_database_url)
    engine = make_engine(empty_database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE users DROP COLUMN max_running")
        context = MigrationContext.configure(connection)
        [difference] = compare_metadata(context, Base.metadata)
        assert difference[0] == "add_column"
    engine.dispose()


@pytest.mark.parametrize("times", [4])
def test_several_processes_may_migrate_at_once(empty_database_url: str, times: int) -> None:
    with ThreadPoolExecutor(times) as pool:
        list(pool.map(lambda _: upgrade(empty_database_url), range(times)))
    assert current(empty_database_url) == newest()


def test_a_key_keeps_what_its_owners_role_allows(empty_database_url: str) -> None:
    """Keys from before scopes; and one that a version before makes on the newer schema."""
    upgrade(empty_database_url, "0011")
    engine = make_engine(empty_database_url)
    owners = {"admin": NOWHERE[:-1] + "1", "member": NOWHERE[:-1] + "2"}

    def add_key(connection: Connection, role: str, prefix: str) -> None:
        connection.execute(
            text(
                "INSERT INTO api_keys (id, user_id, name, prefix, sha256, created_at) "
                "VALUES (:id, :user, 'k', :prefix, :sha256, CURRENT_TIMESTAMP)"
            ).bindparams(bindparam("id", type_=Id), bindparam("user", type_=Id)),
            {"id": new_id(), "user": owners[role], "prefix": prefix, "sha256": "0" * 64},
        )

    with engine.begin() as connection:
        for role, user_id in owners.items():
            connection.execute(
                text(
                    "INSERT INTO users (id, name, role, created_at) "
                    "VALUES (:id, :role, :role, CURRENT_TIMESTAMP)"
                ).bindparams(bindparam("id", type_=Id)),
                {"id": user_id, "role": role},
            )
            add_key(connection, role, f"{role}-1")
    upgrade(empty_database_url)
    with engine.begin() as connection:
        add_key(connection, "member", "member-2")
        rows = connection.execute(text("SELECT prefix, scopes, expires_at FROM api_keys")).all()
    engine.dispose()
    assert {row.prefix: row.scopes for row in rows} == {
        "admin-1": "read submit manage admin",
        "member-1": "read submit manage",
        "member-2": "read submit manage admin",  # what its role allows bounds it
    }
    assert {row.expires_at for row in rows} == {None}


def test_rows_stay_where_a_column_may_be_null_now(empty_database_url: str) -> None:
    """SQLite changes that in place: copying a table would delete what refers to it."""
    upgrade(empty_database_url, "0018")
    engine = make_engine(empty_database_url)
    ids = {name: new_id() for name in ("user", "corpus", "model", "job", "checkpoint", "imported")}

    def run(statement: str) -> None:
        values = [name for name in ids if f":{name}" in statement]
        bound = text(statement).bindparams(*(bindparam(name, type_=Id) for name in values))
        with engine.begin() as connection:
            connection.execute(bound, {name: ids[name] for name in values})

    now, sha256 = "CURRENT_TIMESTAMP", f"'{0:064}'"
    run(f"INSERT INTO users (id, name, role, created_at) VALUES (:user, 'ann', 'member', {now})")
    run(f"INSERT INTO blobs (sha256, size_bytes, touched_at) VALUES ({sha256}, 1, {now})")
    run(
        "INSERT INTO corpora (id, user_id, name, visibility, sha256, encoding, bytes, characters, "
        "alphabet, alphabet_lowercase, distinct_characters, created_at) VALUES (:corpus, :user, "
        f"'c', 'private', {sha256}, 'utf-8', 1, 1, 'a', 'a', 1, {now})"
    )
    run(
        "INSERT INTO models (id, user_id, name, visibility, corpus_id, spec, vocabulary, "
        "vocabulary_size, created_at) VALUES "
        f"(:model, :user, 'm', 'private', :corpus, '{{}}', 'a', 1, {now})"
    )
    run(
        "INSERT INTO jobs (id, user_id, name, kind, status, spec, model_id, created_at, "
        "finished_at) VALUES "
        f"(:job, :user, 'j', 'train', 'cancelled', '{{}}', :model, {now}, {now})"
    )
    checkpoint = (
        "INSERT INTO checkpoints (id, model_id, job_id, attempt, step, epoch, digest, sha256, "
        "size_bytes, fingerprint, created_at) VALUES (:checkpoint, {model}, {job}, 1, 1, 1, "
        f"{sha256}, {sha256}, 1, '{{{{}}}}', {now})"
    )
    run(checkpoint.format(model=":model", job=":job"))
    upgrade(empty_database_url)
    run(
        "INSERT INTO models (id, user_id, name, visibility, spec, vocabulary, vocabulary_size, "
        f"created_at) VALUES (:imported, :user, 'i', 'private', '{{}}', 'a', 1, {now})"
    )
    kept, ids["checkpoint"] = ids["checkpoint"], new_id()
    run(checkpoint.format(model=":imported", job="NULL"))
    downgrade(empty_database_url, "0018")
    with engine.connect() as connection:
        found = connection.execute(text("SELECT name FROM models")).scalars().all()
        remaining = connection.scalars(text("SELECT id FROM checkpoints").columns(id=Id)).all()
    engine.dispose()
    assert (found, remaining) == (["m"], [kept])
