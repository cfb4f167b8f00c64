"""What differs between the asynchronous client and the one that is generated from it.

`quire/client/sync/runtime.py` is the only file there that is written by hand.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

sleep = asyncio.sleep


async def off_loop(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function that reads or writes files without holding the event loop."""
    return await asyncio.to_thread(function, *args, **kwargs)


def at_once(value: Coroutine[Any, Any, R]) -> R | None:
    """Return a value where nothing can be awaited, such as in a `repr`: None."""
    value.close()
    return None
