"""A peer in a process of its own, and PyTorch where a benchmark needs it.

The thread pools of TensorFlow and PyTorch disturb each other in one process, and a script's user
has set none of our switches. So each side lives in a child of its own, and they take turns: while
one works, the other waits for its pipe.
"""

import importlib.util
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

MISSING_TORCH = (
    "this benchmark needs its peer, PyTorch, which Quire itself never uses:\n"
    "    python -m pip install -r benchmarks/requirements.txt\n"
)


def need_torch() -> None:
    """End the program, with the way out, where PyTorch is not installed."""
    if importlib.util.find_spec("torch") is None:
        sys.stderr.write(MISSING_TORCH)
        raise SystemExit(1)


@contextmanager
def child(work: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    """`work(pipe, *arguments)` in a fresh process, and our end of the pipe to it.

    The process may end by itself, and is ended with the context at the latest.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there, *arguments))
    process.start()
    # With our copy closed, a child that dies ends our wait for its answer.
    there.close()
    try:
        yield here
    finally:
        process.kill()
        process.join()
