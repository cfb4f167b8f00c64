"""Peers in their own processes, and the check for PyTorch.

The thread pools of TensorFlow and PyTorch disturb each other in one process, and users of a script
have none of Quire's settings. So Quire and the peer each run in a child process, and alternate:
while one works, the other waits for its pipe.
"""

import importlib.util
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

MISSING_TORCH = (
    "this benchmark needs PyTorch for its peer; Quire itself does not use it. Install it with:\n"
    "    python -m pip install -r benchmarks/requirements.txt\n"
)


def need_torch() -> None:
    """Exit with an installation hint if PyTorch is missing."""
    if importlib.util.find_spec("torch") is None:
        sys.stderr.write(MISSING_TORCH)
        raise SystemExit(1)


@contextmanager
def child(work: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    """Run `work(pipe, *arguments)` in a fresh process; yield our end of the pipe.

    The process is killed at the end of the context, if it has not ended before.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there, *arguments))
    process.start()
    # Without our copy, the death of the child ends our wait for its answer.
    there.close()
    try:
        yield here
    finally:
        process.kill()
        process.join()
