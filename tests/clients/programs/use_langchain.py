"""LangChain's `OpenAI` and `ChatOpenAI`."""

import asyncio

from langchain_openai import ChatOpenAI, OpenAI

PROMPT = "The quick"

llm = OpenAI(model="fox", max_tokens=20, temperature=0, seed=7, max_retries=0)
text = llm.invoke(PROMPT)
assert len(text) == 20
assert "".join(llm.stream(PROMPT)) == text
assert llm.batch([PROMPT, "The lazy"])[0] == text
result = llm.generate([PROMPT, "The lazy"])
assert [len(each[0].text) for each in result.generations] == [20, 20]
assert result.llm_output["token_usage"]["total_tokens"] == 17 + 40
assert (
    len(OpenAI(model="fox", max_tokens=20, n=2, best_of=2).generate([PROMPT]).generations[0]) == 2
)

chat = ChatOpenAI(model="fox", max_tokens=20, temperature=0, seed=7, max_retries=0)
answer = chat.invoke([("system", "Be brief."), ("human", PROMPT)])
assert answer.content == text
assert answer.usage_metadata["total_tokens"] == 29
chunks = list(chat.stream(PROMPT, stream_usage=True))
assert "".join(chunk.content for chunk in chunks) == text
assert sum((chunk.usage_metadata or {}).get("total_tokens", 0) for chunk in chunks) == 29


async def main() -> None:
    assert await llm.ainvoke(PROMPT) == text
    assert "".join([piece async for piece in llm.astream(PROMPT)]) == text
    assert (await chat.ainvoke(PROMPT)).content == text
    assert "".join([chunk.content async for chunk in chat.astream(PROMPT)]) == text


asyncio.run(main())
print("all is well")
