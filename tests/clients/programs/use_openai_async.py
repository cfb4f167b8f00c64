"""`openai`, asynchronous; and a client that hangs up."""

import asyncio

from openai import AsyncOpenAI

SAME = {"model": "fox", "max_tokens": 20, "temperature": 0, "seed": 7}
MESSAGES = [{"role": "user", "content": "The quick"}]


async def main() -> None:
    async with AsyncOpenAI(max_retries=0) as client:
        assert {model.id async for model in client.models.list()} >= {"words", "fox"}
        assert (await client.models.retrieve("fox@best")).id == "fox@best"
        whole, chat = await asyncio.gather(
            client.completions.create(prompt="The quick", **SAME),
            client.chat.completions.create(messages=MESSAGES, **SAME),
        )
        text = whole.choices[0].text
        assert chat.choices[0].message.content == text
        streamed = await client.completions.create(prompt="The quick", stream=True, **SAME)
        assert "".join([chunk.choices[0].text async for chunk in streamed]) == text
        streamed = await client.chat.completions.create(messages=MESSAGES, stream=True, **SAME)
        parts = [chunk.choices[0].delta.content or "" async for chunk in streamed]
        assert "".join(parts) == text
        await leave_early(client)


async def leave_early(client: AsyncOpenAI) -> None:
    """Read the beginning of a long text, and hang up: nobody else waits for its end."""
    long = SAME | {"max_tokens": 100_000}
    stream = await client.completions.create(prompt="The quick", stream=True, **long)
    async for chunk in stream:
        assert chunk.choices[0].text
        break
    await stream.close()


asyncio.run(main())
print("all is well")
