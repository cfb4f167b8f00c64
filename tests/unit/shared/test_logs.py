"""Logs: one line an event, and never a secret."""

import io
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest
import structlog

from shared.logs import LeanLogger, configure_logging
from shared.settings import Settings

KEY = "quire_abcd1234_" + "f" * 64


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    before = logging.getLogger().handlers[:], logging.getLogger().level
    configure_logging(Settings())
    yield stream
    structlog.reset_defaults()
    logging.getLogger().handlers[:], _ = before
    logging.getLogger().setLevel(before[1])


def test_a_line_is_json_where_nobody_looks(lines: io.StringIO) -> None:
    structlog.get_logger("test").bind(job="j", user="u", attempt=2).info("claimed", worker="w")
    line = json.loads(lines.getvalue())
    assert line["event"] == "claimed"
    assert (line["job"], line["user"], line["attempt"], line["worker"]) == ("j", "u", 2, "w")
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")


def test_libraries_lines_have_the_same_form(lines: io.StringIO) -> None:
    logging.getLogger("celery").warning("connection to %s lost", "redis://:hunter2@h:6379/0")
    assert json.loads(lines.getvalue())["event"] == "connection to redis://:(hidden)@h:6379/0 lost"


@pytest.mark.parametrize(
    "told",
    [
        {"key": KEY},
        {"password": "hunter2"},
        {"detail": f"Bearer {KEY}"},
        {"url": "postgresql://u:hunter2@h/d"},
        {"url": "redis+socket://:hunter2@/run/s"},
    ],
)
def test_secrets_are_hidden(lines: io.StringIO, told: dict[str, str]) -> None:
    structlog.get_logger("test").info("event", **told)
    text = lines.getvalue()
    assert "(hidden)" in text
    assert "hunter2" not in text
    assert "f" * 64 not in text


def test_a_traceback_hides_them_too(lines: io.StringIO) -> None:
    try:
        raise ValueError("postgresql://u:hunter2@h/d is down")
    except ValueError:
        structlog.get_logger("test").exception("failed")
    assert "ValueError" in lines.getvalue()
    assert "hunter2" not in lines.getvalue()


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "POST", "path": "/v1/generate", "status": 202, "ms": 1.25},
        {"path": "/v1/corpora?name=né\n\u2028", "none": None, "true": True, "list": [1, "a"]},
        {"key": KEY, "detail": f"Bearer {KEY}", "url": "redis://:hunter2@h:6379/0"},
        {"user": "from the call", "value": object, "text": "\ud83d\ude00"},
    ],
)
def test_a_lean_line_is_the_line_of_a_full_logger(
    lines: io.StringIO, fields: dict[str, object]
) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r", user="ann"):
        structlog.get_logger("test").info("request", **fields)
        LeanLogger("test").info("request", **fields)
    full, lean, _ = lines.getvalue().split("\n")
    stamp = re.compile(r'"timestamp": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"')
    assert stamp.search(lean)
    assert stamp.sub("", lean) == stamp.sub("", full)
    assert list(json.loads(lean)) == list(json.loads(full))


def test_lines_of_many_things_are_those_of_each(lines: io.StringIO) -> None:
    LeanLogger("test").info_many("run_ended", [{"job": "a", "status": "succeeded"}, {"job": KEY}])
    LeanLogger("test").info_many("run_ended", [])
    LeanLogger("test").info("run_ended", job="a", status="succeeded")
    LeanLogger("test").info("run_ended", job=KEY)
    together, alone = (
        [{**json.loads(line), "timestamp": ""} for line in half]
        for half in (lines.getvalue().splitlines()[:2], lines.getvalue().splitlines()[2:])
    )
    assert together == alone
    assert len(alone) == 2
    assert "f" * 64 not in lines.getvalue()


def test_no_line_is_torn_where_processes_share_a_pipe(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(lines, "write", written.append)
    jobs = [{"job": f"{number:03}é" * 20} for number in range(100)] + [{"job": "x" * 5000}]
    LeanLogger("test").info_many("run_ended", jobs)
    assert len(written) < len(jobs) / 10
    assert all(piece.endswith("\n") for piece in written)
    too_long = [piece for piece in written if len(piece.encode()) > 4096]
    assert [piece.count("\n") for piece in too_long] == [1], "a line that is too long by itself"
    told = [json.loads(line)["job"] for piece in written for line in piece.splitlines()]
    assert told == [job["job"] for job in jobs]


def test_a_lean_logger_obeys_the_level(lines: io.StringIO) -> None:
    logging.getLogger().setLevel("WARNING")
    LeanLogger("test").info("request")
    LeanLogger("test").debug("request")
    assert lines.getvalue() == ""


def test_a_lean_logger_writes_for_people_on_a_terminal(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", lines)
    configure_logging(Settings(log_format="text"))
    LeanLogger("test").info("request", status=202)
    LeanLogger("test").info_many("request", [{"status": 203}, {"status": 204}])
    assert all(f"status={status}" in lines.getvalue() for status in (202, 203, 204))
    assert not lines.getvalue().startswith("{")
