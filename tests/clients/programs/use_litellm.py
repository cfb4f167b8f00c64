"""LiteLLM: `text-completion-openai/` for completions, `openai/` for chat completions."""

import os

from litellm import completion, text_completion

SAME = {
    "api_base": os.environ["OPENAI_BASE_URL"],
    "max_tokens": 20,
    "temperature": 0,
    "seed": 7,
    "num_retries": 0,
}
MESSAGES = [{"role": "user", "content": "The quick"}]

plain = text_completion(model="text-completion-openai/fox", prompt="The quick", **SAME)
text = plain.choices[0].text
assert len(text) == 20
assert plain.usage.total_tokens == 29
for model in ("text-completion-openai/fox", "openai/fox"):
    whole = completion(model=model, messages=MESSAGES, **SAME)
    assert whole.choices[0].message.content == text
    assert whole.usage.total_tokens == 29
    chunks = completion(model=model, messages=MESSAGES, stream=True, **SAME)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text

print("all is well")
