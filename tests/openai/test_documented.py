"""The table of calls in docs/clients.md has every route of `/openai/v1`."""

import re
from pathlib import Path

from api.app import create_app
from shared.settings import load_settings

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"
PREFIX = "/openai/v1"


def test_every_call_is_in_the_table() -> None:
    table = PAGE.read_text().partition("## What works")[2].partition("\n\n**Ids of models**")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `") or "all others" in line]
    assert all(re.search(r"\| (works|404|refused)", row) for row in rows)
    settings = load_settings(redis_url="redis://127.0.0.1:1", database_url="sqlite:////dev/null")
    app = create_app(settings)
    paths = {
        re.sub(r"<[^>]+>", "{id}", rule.rule.removeprefix(PREFIX))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(f"{PREFIX}/")
    }
    assert len(paths) > 10
    # «`…/events`» and «`/pause`» stand for the rest of a path that was named before.
    missing = [
        path
        for path in paths
        if f"{path}`" not in table and not re.search(rf"`(\w+ )?…?/{path.split('/')[-1]}`", table)
    ]
    assert missing == []
