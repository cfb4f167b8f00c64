"""Every line of standard error is JSON, whoever writes it."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from shared.process.json_stderr import EVENT_BYTES, Wrapper

PREPARE = "from shared.process.json_stderr import install; install()\n"


def wrapped(*chunks: bytes) -> list[dict[str, Any]]:
    written: list[bytes] = []
    wrapper = Wrapper(written.append)
    for chunk in chunks:
        wrapper.feed(chunk)
    wrapper.end()
    return [json.loads(line) for line in b"".join(written).splitlines()]


def lines_of(program: str, returncode: int = 0, **variables: str) -> list[dict[str, Any]]:
    """What a program with the pipe leaves on its standard error, to its last line."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + program],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == returncode, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_json_lines_pass_unchanged() -> None:
    assert wrapped(b'{"event": "a"}\n{"ev', b'ent": "b"}\n') == [{"event": "a"}, {"event": "b"}]


@pytest.mark.parametrize("line", [b"{not json}\n", b"[1]\n", b"12\n", b"no end", b"\xff\xfe\n"])
def test_other_lines_become_an_event(line: bytes) -> None:
    [event] = wrapped(line)
    assert event["event"] == line.decode(errors="replace").strip()
    assert event["level"] == "warning"
    assert event["source"] == "stderr"
    assert event["timestamp"].endswith("Z")


def test_lines_that_come_together_are_one_event() -> None:
    first, logged, second = wrapped(b'Traceback:\n  File "x"\n{"event": "a"}\nValueError\n\n')
    assert first["event"] == 'Traceback:\n  File "x"'
    assert logged == {"event": "a"}
    assert second["event"] == "ValueError"


def test_native_logs_keep_their_level_and_their_lines_apart() -> None:
    events = wrapped(
        b"2026-11-26 15:00:00.123456: I tensorflow/core/x.cc:1] using oneDNN\n"
        b"2026-11-26 15:00:00.123457: E external/xla/y.cc:2] failed\n  details\n"
        b"W0000 00:00:1764171234.5    99 z.cc:3] beware\n"
        b"[2026-11-26 16:00:44,556: INFO/SpawnPoolWorker-1] child process 1 calling self.run()\n"
    )
    assert [event["level"] for event in events] == ["info", "error", "warning", "info"]
    assert events[1]["event"].endswith("failed\n  details")


def test_an_endless_line_is_cut() -> None:
    events = wrapped(*[b"x" * 60_000] * 10)
    assert sum(len(event["event"]) for event in events) == 600_000
    assert max(len(event["event"]) for event in events) < 2 * EVENT_BYTES


def test_secrets_are_hidden_in_other_lines_too() -> None:
    [event] = wrapped(f"quire_abcd1234_{'f' * 64} redis://:hunter2@host\n".encode())
    assert event["event"] == "quire_abcd1234_(hidden) redis://:(hidden)@host"


@pytest.mark.parametrize(
    ("program", "returncode", "expected"),
    [
        ("raise ValueError('oh')", 1, "ValueError: oh"),
        ("import warnings; warnings.warn('beware')", 0, "UserWarning: beware"),
        ("import os; os.write(2, b'native')", 0, "native"),
        ("import argparse; argparse.ArgumentParser().parse_args(['--no'])", 2, "unrecognized"),
        ("import subprocess; subprocess.run(['sh', '-c', 'echo child >&2'])", 0, "child"),
        ("import os, faulthandler; faulthandler.dump_traceback(2)", 0, "most recent call first"),
        ("install(); import sys; print('twice', file=sys.stderr)", 0, "twice"),
    ],
)
def test_whoever_writes(program: str, returncode: int, expected: str) -> None:
    events = lines_of(program, returncode)
    assert expected in "\n".join(event["event"] for event in events)
    assert all(event["source"] == "stderr" for event in events)


def test_a_program_that_follows_in_the_process_uses_the_same_pipe() -> None:
    program = (
        "import os, sys\n"
        f"os.execv(sys.executable, [sys.executable, '-c', {PREPARE + 'raise ValueError(1)'!r}])"
    )
    events = lines_of(program, 1)
    assert "ValueError: 1" in events[-1]["event"]


def test_standard_output_may_be_wrapped_too() -> None:
    program = "import sys, json; print('hello'); sys.stdout.flush()"
    [event] = lines_of(f"install(with_stdout=True); {program}")
    assert event["event"] == "hello"


def test_a_crash_is_told() -> None:
    events = lines_of("import os; os.write(2, b'last words\\n'); os.abort()", -6)
    assert [event["event"] for event in events] == ["last words"]
