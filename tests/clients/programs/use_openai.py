"""`openai`, synchronous."""

from collections.abc import Callable

from openai import APIError, BadRequestError, NotFoundError, OpenAI

PROMPT = "The quick"
SAME = {"model": "fox", "max_tokens": 20, "temperature": 0, "seed": 7}

client = OpenAI(max_retries=0)

models = client.models.list()
assert {model.id for model in models} >= {"words", "fox"}
assert (models.object, models.data[0].owned_by) == ("list", "admin")
for name in ("fox", "fox@best", "fox@latest", "admin/fox", "admin/fox@best"):
    assert client.models.retrieve(name).id == name

whole = client.completions.create(prompt=PROMPT, **SAME)
[choice] = whole.choices
assert (len(choice.text), choice.finish_reason) == (20, "length")
assert whole.system_fingerprint
assert whole.usage
assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (9, 20)

with client.completions.create(
    prompt=PROMPT, stream=True, stream_options={"include_usage": True}, **SAME
) as stream:
    chunks = list(stream)
assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == choice.text
assert chunks[-1].usage == whole.usage
assert {chunk.system_fingerprint for chunk in chunks} == {whole.system_fingerprint}

several = client.completions.create(
    prompt=[PROMPT, "The lazy"], n=2, best_of=2, echo=True, logprobs=1, **SAME
)
starts = [PROMPT, PROMPT, "The lazy", "The lazy"]
for each, start in zip(several.choices, starts, strict=True):
    assert each.text.startswith(start)
assert several.choices[0].text == PROMPT + choice.text
found = several.choices[0].logprobs
assert found is not None
assert "".join(found.tokens or []) == several.choices[0].text
assert [value is None for value in found.token_logprobs or []] == [True] * 9 + [False] * 20

stop = choice.text[5:7]
stopped = client.completions.create(prompt=PROMPT, stop=[stop], **SAME).choices[0]
assert stopped.text == choice.text[: choice.text.index(stop)]
assert stopped.finish_reason == "stop"

words = client.completions.create(model="words", prompt="The quick", max_tokens=5)
assert words.usage
assert (words.usage.prompt_tokens, words.usage.completion_tokens) == (2, 5)

messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}]
chat = client.chat.completions.create(messages=messages, logprobs=True, **SAME)
assert chat.choices[0].message.content == choice.text
assert chat.usage == whole.usage
assert chat.choices[0].logprobs
assert chat.choices[0].logprobs.content
assert [each.token for each in chat.choices[0].logprobs.content] == list(choice.text)

chunks = list(client.chat.completions.create(messages=messages, stream=True, **SAME))
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == choice.text
assert chunks[0].choices[0].delta.role == "assistant"
assert chunks[-1].choices[0].finish_reason == "length"


def refused(call: Callable[[], object]) -> APIError:
    try:
        call()
    except APIError as error:
        return error
    raise AssertionError("not refused")


complete = client.completions.create
for call, kind, param in (
    (lambda: complete(model="none", prompt=PROMPT), NotFoundError, "model"),
    (lambda: client.models.retrieve("fox@7777"), NotFoundError, "model"),
    (lambda: client.models.delete("fox@best"), BadRequestError, "model"),
    (lambda: complete(model="fox", prompt="☃"), BadRequestError, "prompt"),
    (lambda: complete(prompt=PROMPT, best_of=3, **SAME), BadRequestError, "best_of"),
    (lambda: client.embeddings.create(model="fox", input="x"), NotFoundError, None),
):
    error = refused(call)
    assert type(error) is kind, error
    assert error.param == param
    assert error.request_id  # type: ignore[attr-defined]

client.close()
print("all is well")
