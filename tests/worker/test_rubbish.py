"""Rubbish in Redis: whatever lies in a list or stream that Quire reads, its jobs run."""

import base64
import json
import pickle
import uuid
from typing import Any

import pytest
import redis

from shared.broker import WAKE_TASK, redis_url
from shared.job_events import EventReader, stream_key
from tests.worker.harness import WorkerHarness, until
from worker.wake_transport import canonical_wake

pytestmark = pytest.mark.slow


def body(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def message(**changes: Any) -> dict[str, Any]:
    """A wake as Celery sends it, with changes."""
    job = str(uuid.uuid4())
    properties = {
        "correlation_id": job,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "train"},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": str(uuid.uuid4()),
    }
    return {
        "body": body([[], {"kind": "train"}, {}]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": WAKE_TASK, "id": job, "retries": 0},
        "properties": properties,
    } | changes


def with_headers(**changes: Any) -> dict[str, Any]:
    wake = message()
    return wake | {"headers": wake["headers"] | changes}


PICKLED = base64.b64encode(pickle.dumps(((), {"kind": "train"}, {}))).decode()
DOCUMENTS: list[Any] = [
    None, True, 7, "text", [], {}, [1, {"task": WAKE_TASK}], {"headers": None}, {"headers": []},
    {"__type__": "uuid", "__value__": "none"}, {"__type__": "datetime", "__value__": 3},
    {"task": WAKE_TASK, "id": "x", "args": [], "kwargs": {"kind": "train"}},
    with_headers(task="os.system"), with_headers(task=None), with_headers(task=["a"]),
    with_headers(task={}), with_headers(id=None), with_headers(id=7), with_headers(id={}),
    with_headers(id="x" * 10_000), with_headers(id="\x1b[31m"),
    message(headers="text"), message(headers={}),
]  # fmt: skip
#: Wakes whose other parts are wrong: they wake, or are dropped.
ODD_WAKES: list[Any] = [
    message(body=7), message(body="!!"), message(body=body("text")), message(body=body([[], {}])),
    message(body=body([["a"] * 9, {"kind": 3, "x": 1}, {"callbacks": [{"task": "os.system"}]}])),
    message(body=PICKLED, **{"content-type": "application/x-python-serialize"}),
    message(**{"content-type": "text/rubbish", "content-encoding": "klingon"}),
    message(properties=None), message(properties={}), message(properties={"delivery_info": 3}),
    message(properties={"delivery_info": {"routing_key": "nowhere"}, "delivery_tag": {}}),
    with_headers(eta="tomorrow"), with_headers(expires="yesterday"), with_headers(eta={}),
    with_headers(timelimit="x"), with_headers(retries="many"), with_headers(group=7, chord="x"),
    with_headers(ignore_result=3, stamped_headers=7, replaced_task_nesting="x"),
]  # fmt: skip
RAW = [
    b"", b"\xff\xfe\x00rubbish", b"{", b"\x80\x04K\x07.", b"NaN", b"[" * 100_000,
    b'"' + b"x" * 5_000_000 + b'"', b'{"headers": {"task": "quire.wake", "id": "\\ud800"}}',
    '{"a": "\u2028"}'.encode("utf-16"),
]  # fmt: skip


def test_what_is_no_wake_is_dropped() -> None:
    for document in DOCUMENTS:
        assert canonical_wake(document, "train") is None, document


def test_a_lane_drops_rubbish_and_goes_on(sqlite_harness: WorkerHarness) -> None:
    server = redis.Redis.from_url(redis_url(sqlite_harness.environment["REDIS_URL"]))
    rubbish = [json.dumps(document).encode() for document in [*DOCUMENTS, *ODD_WAKES]] + RAW
    with sqlite_harness.worker() as worker:
        lanes = [sqlite_harness.child_pid(kind) for kind in ("train", "generate")]
        for kind in ("train", "generate"):
            for key in (kind, f"{kind}\x06\x169"):
                server.lpush(key, *rubbish)
        # What Kombu keeps beside the lists.
        server.hset("unacked", "tag", b"\xffrubbish")
        server.zadd("unacked_index", {"tag": 1.0})
        until(
            lambda: not any(server.llen(kind) for kind in ("train", "generate")), "empty lists", 60
        )
        server.set("train", "no list")
        job_id = sqlite_harness.train(wake=False, epochs=1)
        sqlite_harness.broker.wake("train", job_id)
        sqlite_harness.wait_until_succeeded(job_id, seconds=60)
        assert [sqlite_harness.child_pid(kind) for kind in ("train", "generate")] == lanes
        assert worker.process.poll() is None
        assert worker.log.count("message_dropped") >= 2 * len(DOCUMENTS)
        assert "child_restarted" not in worker.log


def test_rubbish_in_the_table_of_queues_does_not_fail_a_request(
    sqlite_harness: WorkerHarness,
) -> None:
    server = redis.Redis.from_url(redis_url(sqlite_harness.environment["REDIS_URL"]))
    sqlite_harness.broker.wake("train", str(uuid.uuid4()))
    server.sadd("_kombu.binding.train", b"rubbish", b"\x06\x16", b"a\x06\x16b")
    for _ in range(3):
        assert sqlite_harness.broker.wake("train", str(uuid.uuid4())) in (True, False)
    assert sqlite_harness.broker.wake("train", str(uuid.uuid4()))
    server.delete("train")


ENTRIES: list[dict[str, Any]] = [
    {"x": "y"}, {"kind": "piece"}, {"data": "{}"}, {"kind": "piece", "data": "{}"},
    {"kind": b"\xff", "data": b"\xff"}, {"kind": "state", "data": "["},
    {"kind": "state", "data": "[]"}, {"kind": "state", "data": "7"}, {"kind": "x", "data": "{}"},
    {"kind": "metrics", "data": '{"step": NaN}'}, {"kind": "texts", "data": '{"step": "1"}'},
    {"kind": "metrics", "data": "[" * 100_000}, {"kind": "texts", "data": '{"step": -1}'},
    {"kind": "piece", "data": '{"position": 0, "offset": 0, "text": "\\ud800"}'},
    {"kind": "piece", "data": '{"position": {}, "offset": 0, "text": "a"}'},
    {"kind": "piece", "data": '{"position": 0, "offset": true, "text": "a"}'},
    {"kind": "piece", "data": '{"position": 0, "offset": 0, "text": "a", "prompt": 7}'},
    {"kind": "unreadable", "data": "{}"},
]  # fmt: skip


def test_a_reader_passes_over_rubbish_in_a_stream(sqlite_harness: WorkerHarness) -> None:
    url = sqlite_harness.environment["REDIS_URL"]
    server = redis.Redis.from_url(redis_url(url))
    job_id = str(uuid.uuid4())
    for fields in ENTRIES:
        server.xadd(stream_key(job_id), fields)
    last = server.xadd(stream_key(job_id), {"kind": "state", "data": '{"begins": true}'})
    reader = EventReader(url, 1, 0.3)
    entries = reader.read_all(job_id)
    assert [entry.kind for entry in entries] == ["unreadable"] * len(ENTRIES) + ["state"]
    assert entries[-1].data == {"begins": True}
    assert reader.read(job_id, "0-0", 0.1) == entries
    assert reader.last_id(job_id) == last.decode()
