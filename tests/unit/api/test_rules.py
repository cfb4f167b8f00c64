"""Rules compile what builds their URLs when one is built, and build what werkzeug's build."""

from typing import Any

import pytest
import werkzeug.routing
from werkzeug.routing import Map

from api.http.rules import Rule

RULE = "/v1/jobs/<id>/texts/<int:number>"


@pytest.mark.parametrize("append_unknown", [True, False])
@pytest.mark.parametrize(
    "values", [{"id": "a/b", "number": 3}, {"id": "ä", "number": 0, "self": "x", "limit": [1, 2]}]
)
def test_a_url_is_the_one_that_werkzeug_builds(
    values: dict[str, Any], append_unknown: bool
) -> None:
    urls = [
        Map([kind(RULE, endpoint="text")])
        .bind("localhost")
        .build("text", values, append_unknown=append_unknown)
        for kind in (Rule, werkzeug.routing.Rule)
    ]
    assert urls[0] == urls[1]


def test_nothing_is_compiled_until_a_url_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    compile_builder = werkzeug.routing.Rule._compile_builder

    def counted(rule: werkzeug.routing.Rule, append_unknown: bool = True) -> Any:
        compiled.append(append_unknown)
        return compile_builder(rule, append_unknown)

    monkeypatch.setattr(werkzeug.routing.Rule, "_compile_builder", counted)
    adapter = Map([Rule(RULE, endpoint="text")]).bind("localhost")
    assert adapter.match("/v1/jobs/7/texts/1") == ("text", {"id": "7", "number": 1})
    assert not compiled

    for _ in range(2):
        adapter.build("text", {"id": "7", "number": 1})
    assert compiled == [True]
