"""HTTP load in a closed loop: connections that each send a request as soon as the last is answered.

The client is `wrk` (Debian's package) where it is installed, and else a single-threaded one of our
own. Both count answers of status 200 with the expected number of texts only, and say how much of a
core they take themselves, so that a client that is the bottleneck shows.
"""

import json
import resource
import selectors
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 30
#: Above this share of a core the figures would be the client's.
MOST_CLIENT_CPU = 0.5
WRK_SCRIPT = """
local threads = {}
function setup(thread) table.insert(threads, thread) end
local bodies, number = %s, 0
good, bad, worst = 0, 0, ""
function request()
  number = number %% #bodies + 1
  return wrk.format(%s, %s, {["Authorization"] = %s, ["Content-Type"] = "application/json"%s},
    bodies[number] ~= "" and bodies[number] or nil)
end
function response(status, headers, body)
  local found, at = 0, 0
  while true do
    at = string.find(body, %s, at + 1, true)
    if at == nil then break end
    found = found + 1
  end
  if status == 200 and found == %d then good = good + 1
  else bad = bad + 1; worst = status .. " " .. string.sub(body, 1, 300) end
end
function done(summary, latency, requests)
  local thread = threads[1]
  io.write(string.format(
    '\\n{"good": %%d, "bad": %%d, "p50": %%f, "p99": %%f, "us": %%d, "errors": %%d}\\n',
    thread:get("good"), thread:get("bad"), latency:percentile(50), latency:percentile(99),
    summary.duration, summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.timeout))
  io.write(thread:get("worst"))
end
"""


@dataclass(frozen=True)
class Target:
    """What is requested, and what a good answer has.

    Attributes:
        bodies: Sent in turn.
        mark: Occurs in an answer once for each text.
        texts: How often.
    """

    port: int
    method: str
    path: str
    key: str = ""
    bodies: Sequence[str] = ("",)
    prefer: str = ""
    mark: str = '"text":'
    texts: int = 1


@dataclass(frozen=True)
class Load:
    """A period of load.

    Attributes:
        per_second: Good answers.
        p50: The median latency in seconds.
        p99: The 99th percentile in seconds.
        client_cpu: The share of a core that the client took.
    """

    per_second: float
    p50: float
    p99: float
    client_cpu: float


def closed_loop(target: Target, connections: int, seconds: float) -> Load:
    """Load a server.

    Raises:
        RuntimeError: An answer was not good, or the client itself was the bottleneck.
    """
    before = _cpu_seconds()
    load = (_wrk if shutil.which("wrk") else _own)(target, connections, seconds)
    busy = (_cpu_seconds() - before) / seconds
    if busy > MOST_CLIENT_CPU:
        raise RuntimeError(f"the client took {busy:.0%} of a core: it may be the bottleneck")
    return Load(*load, busy)


def client_name() -> str:
    """Name the client for the conditions of a row."""
    return "wrk" if shutil.which("wrk") else "a client of one thread"


def _wrk(target: Target, connections: int, seconds: float) -> tuple[float, float, float]:
    prefer = f', ["Prefer"] = {_lua(target.prefer)}' if target.prefer else ""
    bodies = "{" + ", ".join(map(_lua, target.bodies)) + "}"
    script = WRK_SCRIPT % (
        *(bodies, _lua(target.method), _lua(target.path), _lua(f"Bearer {target.key}"), prefer),
        *(_lua(target.mark), target.texts),
    )
    with tempfile.TemporaryDirectory(prefix="quire-wrk-") as directory:
        path = Path(directory, "load.lua")
        path.write_text(script)
        options = ("-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s")
        timeout = ("--timeout", f"{TIMEOUT_SECONDS}s", "--latency", "-s", str(path))
        url = f"http://127.0.0.1:{target.port}{target.path}"
        done = subprocess.run(
            ("wrk", *options, *timeout, url), capture_output=True, text=True, check=True
        )
    _, _, rest = done.stdout.rpartition("\n{")
    line, _, worst = rest.partition("\n")
    found: dict[str, Any] = json.loads("{" + line)
    if found["bad"] or found["errors"]:
        raise RuntimeError(f"{found['bad']} bad answers, {found['errors']} errors: {worst}")
    return found["good"] / (found["us"] / 1e6), found["p50"] / 1e6, found["p99"] / 1e6


def _lua(text: str) -> str:
    level = "="
    while f"]{level}]" in text:
        level += "="
    return f"[{level}[{text}]{level}]"


def _own(target: Target, connections: int, seconds: float) -> tuple[float, float, float]:
    requests = [_request(target, body) for body in target.bodies]
    latencies: list[float] = []
    number = 0
    began = time.perf_counter()
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        for number in range(connections):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", target.port)))
            one.sendall(requests[number % len(requests)])
            selector.register(one, selectors.EVENT_READ, [time.perf_counter(), b""])
        while time.perf_counter() - began < seconds:
            for ready, _ in selector.select(1.0):
                peer, state = ready.fileobj, ready.data
                assert isinstance(peer, socket.socket)
                state[1] += peer.recv(65536)
                if not _is_whole(state[1]):
                    continue
                _check(target, state[1])
                now = time.perf_counter()
                latencies.append(now - state[0])
                number += 1
                state[:] = [now, b""]
                peer.sendall(requests[number % len(requests)])
    wall = time.perf_counter() - began
    if len(latencies) < 2:
        return len(latencies) / wall, wall, wall
    p99 = statistics.quantiles(latencies, n=100)[-1]
    return len(latencies) / wall, statistics.median(latencies), p99


def _request(target: Target, body: str) -> bytes:
    data = body.encode()
    lines = [f"{target.method} {target.path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"Authorization: Bearer {target.key}", "Content-Type: application/json"]
    lines += [f"Prefer: {target.prefer}"] * bool(target.prefer)
    lines += [f"Content-Length: {len(data)}"] * bool(data)
    return "\r\n".join([*lines, "", ""]).encode() + data


def _is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0].partition(b":")[2])


def _check(target: Target, answer: bytes) -> None:
    if answer[9:12] != b"200" or answer.count(target.mark.encode()) != target.texts:
        raise RuntimeError(f"a bad answer: {answer[:300]!r}")


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
