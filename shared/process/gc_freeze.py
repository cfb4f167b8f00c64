"""Keeps the garbage collector away from what a process loads once and keeps."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_frozen_after_load() -> Iterator[None]:
    """Collect nothing inside the block, and exclude what stays after it from later collections.

    A worker keeps hundreds of thousands of objects of TensorFlow and of its modules. While they
    load, each full collection visits all that are there already; later, each one would stop all
    threads while it visits them again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # What is frozen is never freed, so the block's garbage goes first.
        gc.collect()
        gc.freeze()
        if was_enabled:
            gc.enable()
