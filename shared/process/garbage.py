"""Keeps the garbage collector away from what a process loads once and keeps."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Collect nothing inside the block, and never look at what it leaves in memory.

    TensorFlow and the modules of a worker are hundreds of thousands of objects. While they load,
    each full collection goes through all that is there already; later, each would hold up all
    threads for as long.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collected:
            gc.enable()
