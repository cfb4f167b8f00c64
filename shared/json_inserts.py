"""Inserts of many rows on PostgreSQL as one execution, with the rows as one JSON parameter.

To begin an execution costs PostgreSQL more than a row does: it reads the table's constraints and
the conditions of its indexes anew each time. To bind a value by itself costs the driver more than
to write it in JSON. And the statement has one text for any number of rows.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Insert, String, bindparam, cast, column, func, select
from sqlalchemy.dialects.postgresql import JSON

#: The parameter that has the rows.
ROWS = "rows"


def insert_of_json(statement: Insert, names: Sequence[str]) -> Insert:
    """Return an insert that takes its rows as JSON, from `json_of`.

    Args:
        statement: An insert without values; what it does on a conflict stays.
        names: The columns that get values. The others get their defaults.
    """
    columns = [statement.table.c[name] for name in names]
    # As a string of a length, it would be cut off where an insert refuses what is longer.
    types = [String() if isinstance(each.type, String) else each.type for each in columns]
    given = func.json_to_recordset(cast(bindparam(ROWS, type_=String), JSON))
    fields = [column(name, type_) for name, type_ in zip(names, types, strict=True)]
    row = given.table_valued(*fields).render_derived(name="given", with_types=True)
    return statement.from_select(list(names), select(*[row.c[name] for name in names]))


def json_of(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Write rows as JSON; None if it cannot have one of the values, such as infinity.

    Rows of other columns than the first have no such form, either.
    """
    names = rows[0].keys()
    if any(row.keys() != names for row in rows):
        return None
    try:
        return json.dumps(rows, allow_nan=False, default=_written, ensure_ascii=False)
    except (TypeError, ValueError):
        return None


def _written(value: object) -> str:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.isoformat()
    raise TypeError(f"{value!r} is not for JSON")
