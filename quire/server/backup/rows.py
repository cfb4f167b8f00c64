"""Rows in a form that is neither SQLite's nor PostgreSQL's: one JSON array each."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    CHAR,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.types import TypeEngine

from shared.tables import Id, Json, UtcDateTime

ColumnKind = Literal["uuid", "json", "bool", "time", "date", "int", "float", "bytes", "text"]
#: SQLite has no type for them: they are this many hexadecimal digits.
UUID_CHARACTERS = 32
#: The first that matches tells the kind of a column.
_KINDS: tuple[tuple[type[TypeEngine[Any]], ColumnKind], ...] = (
    (Uuid, "uuid"),
    (JSON, "json"),
    (Boolean, "bool"),
    (DateTime, "time"),
    (Date, "date"),
    (Integer, "int"),
    (Float, "float"),
    (Numeric, "float"),
    (LargeBinary, "bytes"),
    (String, "text"),
)
_TYPES: Mapping[ColumnKind, Any] = {
    "uuid": Id,
    "json": Json,
    "bool": Boolean(),
    "time": UtcDateTime(),
    "date": Date(),
    "int": BigInteger(),
    "float": Double(),
    "bytes": LargeBinary(),
    "text": Text(),
}


def kind_of(column: Column[Any]) -> ColumnKind:
    """Return the kind of a reflected column.

    Raises:
        TypeError: Backups have no form for its type.
    """
    if isinstance(column.type, CHAR) and column.type.length == UUID_CHARACTERS:
        return "uuid"
    for type_, kind in _KINDS:
        if isinstance(column.type, type_):
            return kind
    raise TypeError(f"{column}: no form in a backup for {column.type!r}")


def portable_table(name: str, columns: Mapping[str, ColumnKind]) -> Table:
    """Build a table to insert rows into, on either database."""
    return Table(name, MetaData(), *(Column(each, _TYPES[kind]) for each, kind in columns.items()))


def encode(row: Sequence[Any], kinds: Sequence[ColumnKind]) -> bytes:
    """Write a row as a line."""
    values = [
        None if value is None else _ENCODERS.get(kind, _same)(value)
        for value, kind in zip(row, kinds, strict=True)
    ]
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes, columns: Mapping[str, ColumnKind]) -> dict[str, Any]:
    """Read a row from a line.

    Raises:
        ValueError: It is no row of these columns.
    """
    values = json.loads(line)
    return {
        name: None if value is None else _DECODERS.get(kind, _same)(value)
        for value, (name, kind) in zip(values, columns.items(), strict=True)
    }


def _same(value: Any) -> Any:
    return value


def _utc(value: datetime) -> str:
    # SQLite's times have no zone and are UTC.
    return (
        value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    ).isoformat()


_ENCODERS: Mapping[ColumnKind, Callable[[Any], Any]] = {
    "uuid": lambda value: str(UUID(str(value))),
    "time": _utc,
    "date": date.isoformat,
    "bytes": lambda value: base64.b64encode(value).decode(),
}
_DECODERS: Mapping[ColumnKind, Callable[[Any], Any]] = {
    "time": datetime.fromisoformat,
    "date": date.fromisoformat,
    "bytes": base64.b64decode,
}
