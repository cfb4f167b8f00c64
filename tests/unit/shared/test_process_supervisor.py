"""The supervisor starts real child processes in order, waits for them and stops them."""

import threading
import time
from pathlib import Path

import pytest

from shared.process.supervisor import Child, Event, ProcessSupervisor, StartFailed, StopRequested
from tests.unit.shared.children import (
    SLEEP,
    is_alive,
    kinds,
    python,
)


def test_children_start_in_order_and_stop_in_reverse(
    supervisor: ProcessSupervisor, events: list[Event]
) -> None:
    supervisor.start(*(Child(name, SLEEP) for name in ("first", "second", "third")))
    pids = [supervisor.pid(name) for name in ("first", "second", "third")]
    supervisor.stop()

    assert kinds(events, "ready", "stopping") == [
        ("ready", "first"),
        ("ready", "second"),
        ("ready", "third"),
        ("stopping", "third"),
        ("stopping", "second"),
        ("stopping", "first"),
    ]
    assert [event.exit for event in events if event.kind == "stopped"] == ["signal SIGTERM"] * 3
    assert not any(is_alive(pid) for pid in pids if pid)


def test_a_child_is_started_only_when_the_one_before_is_ready(
    supervisor: ProcessSupervisor, events: list[Event], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    slow = python(
        "import pathlib, sys, time; time.sleep(0.5); pathlib.Path(sys.argv[1]).touch();"
        "time.sleep(600)",
        str(mark),
    )
    supervisor.start(Child("slow", slow, ready=mark.exists), Child("next", SLEEP))
    assert mark.exists()
    assert kinds(events, "started", "ready") == [
        ("started", "slow"),
        ("ready", "slow"),
        ("started", "next"),
        ("ready", "next"),
    ]


def test_children_started_together_do_not_wait_for_each_other(
    supervisor: ProcessSupervisor, events: list[Event]
) -> None:
    supervisor.start_together(Child("a", SLEEP), Child("b", SLEEP))
    assert kinds(events, "started", "ready") == [
        ("started", "a"),
        ("started", "b"),
        ("ready", "a"),
        ("ready", "b"),
    ]


def test_a_child_that_ends_while_starting_reports_the_end_of_its_log(
    supervisor: ProcessSupervisor, tmp_path: Path
) -> None:
    bad = python("print('port 1 is taken'); raise SystemExit(3)")
    with pytest.raises(StartFailed, match=r"(?s)api did not start: exit code 3.*port 1 is taken"):
        supervisor.start(Child("api", bad, ready=lambda: False, log_path=tmp_path / "api.log"))


def test_an_unready_child_fails_with_its_name(supervisor: ProcessSupervisor) -> None:
    with pytest.raises(StartFailed, match="api did not start: not ready after"):
        supervisor.start(Child("api", SLEEP, ready=lambda: False, ready_seconds=0.3))


def test_a_missing_program_fails_with_its_name(
    supervisor: ProcessSupervisor, tmp_path: Path
) -> None:
    child = Child("x", ("/no/program",), ready=lambda: False, log_path=tmp_path / "x.log")
    with pytest.raises(StartFailed, match=r"(?s)exit code 127.*cannot run /no/program"):
        supervisor.start(child)


def test_complete_waits_for_the_end_and_reports_a_failure(
    supervisor: ProcessSupervisor, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    touch = python("import pathlib, sys; pathlib.Path(sys.argv[1]).touch()", str(mark))
    supervisor.complete(Child("migrate", touch))
    assert mark.exists()
    with pytest.raises(StartFailed, match="migrate did not start: exit code 1"):
        supervisor.complete(Child("migrate", python("raise SystemExit(1)")))


def test_a_stop_request_interrupts_the_start(supervisor: ProcessSupervisor) -> None:
    threading.Timer(0.2, supervisor.request_stop).start()
    with pytest.raises(StopRequested):
        supervisor.start(Child("api", SLEEP, ready=lambda: False))


def test_watch_ticks_until_a_stop_is_requested(supervisor: ProcessSupervisor) -> None:
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(time.monotonic())
        if len(ticks) == 3:
            supervisor.request_stop()

    supervisor.watch(tick, tick_seconds=0.01)
    assert len(ticks) == 3
    assert supervisor.stopping
