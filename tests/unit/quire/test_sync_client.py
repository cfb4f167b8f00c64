"""`quire/client/sync/` is what `make client` writes from `quire/client/aio/`."""

from tools.sync_client import TARGET, generate, without_async, written


def test_the_client_is_the_one_that_is_generated() -> None:
    generated = dict(generate())
    assert set(generated) == written(), "run make client"
    changed = [path for path, text in generated.items() if (TARGET / path).read_text() != text]
    assert changed == [], "change quire/client/aio/ and run make client"


def test_nothing_of_asyncio_is_left() -> None:
    source = (
        "async def f(c: AsyncClient) -> AsyncIterator[int]:\n"
        "    async with c as d:\n        x = [i async for i in d.g()]\n"
        "    await d.aclose()\n"
        "g: Callable[[], Awaitable[dict[str, int]]]\n"
    )
    assert without_async(source) == (
        "def f(c: Client) -> Iterator[int]:\n"
        "    with c as d:\n        x = [i for i in d.g()]\n"
        "    d.close()\n"
        "g: Callable[[], dict[str, int]]\n"
    )
