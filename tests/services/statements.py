"""Notes the statements that a database runs, whether SQLAlchemy runs them or `shared.prepared`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from shared import statement_forms


@contextmanager
def noted_statements(engine: Engine) -> Iterator[list[str]]:
    """Collect the statements that this process runs through an engine, in their order."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    send, run = statement_forms.Form.send, statement_forms.Form.run

    def note_send(form: Any, connection: Connection, values: statement_forms.Values) -> Any:
        statements.append(form.text)
        return send(form, connection, values)

    def note_run(form: Any, connection: Connection, rows: Sequence[statement_forms.Values]) -> None:
        statements.append(form.text)
        run(form, connection, rows)

    event.listen(engine, "before_cursor_execute", note)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(statement_forms.Form, "send", note_send)
            patch.setattr(statement_forms.Form, "run", note_run)
            yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)
