"""``POST /openai/v1/chat/completions``: the last message of the user is the prompt."""

from typing import Any

from tests.api.harness import ApiHarness, Person, record
from tests.openai.calls import ROOT, answered, chat, in_background, queued, refused_field


def test_a_chat_completion_has_every_field(harness: ApiHarness, ann: Person, model: Any) -> None:
    answer = answered(harness, ann, chat, ["one", "three"], model="orwell", n=2)
    assert answer.status_code == 200, answer.text
    [job] = ann.items("/v1/jobs?kind=generate")
    assert (job["spec"]["prompt"], job["spec"]["echo"]) == ("It was", False)
    body = answer.json
    assert body.pop("system_fingerprint").startswith("fp_")
    assert isinstance(body.pop("created"), int)
    message = {"role": "assistant", "refusal": None}
    assert body == {
        "id": f"chatcmpl-{job['id']}",
        "object": "chat.completion",
        "model": "orwell",
        "choices": [
            {
                "index": index,
                "message": {**message, "content": text},
                "logprobs": None,
                "finish_reason": "length",
            }
            for index, text in enumerate(["one", "three"])
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 8, "total_tokens": 11},
    }


def test_the_prompt_is_the_text_of_the_last_message_of_the_user(
    harness: ApiHarness, ann: Person, model: Any
) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    body = {
        "model": "orwell",
        "messages": [
            {"role": "system", "content": "\N{SNOWMAN} is not in the vocabulary"},
            {"role": "user", "content": [picture]},
            {"role": "user", "content": [{"type": "text", "text": "the "}, "clocks"]},
            {"role": "assistant", "content": "were", "tool_calls": []},
        ],
        "max_completion_tokens": 7,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 2,
    }
    with in_background(post_chat, ann, **body) as future:
        [job] = queued(ann)
        assert job["spec"]["prompt"] == "the clocks"
        assert (job["spec"]["length"], job["spec"]["temperatures"]) == (7, [0.0])
        assert job["spec"]["top_logprobs"] == 2
        claim = harness.claim(job["id"], "generate")
        told = {"tokens": ["é", "!"], "top_logprobs": [[("é", -0.5), ("e", -2.0)], [(".", -0.75)]]}
        harness.queue.succeed(claim, [record(0, "é!", None, logprobs=[-0.5, -1.5], **told)])
    tokens = future.result().json["choices"][0]["logprobs"]["content"]
    first = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    other = {"token": "e", "logprob": -2.0, "bytes": [101]}
    assert tokens[0] == {**first, "top_logprobs": [first, other]}
    assert [each["token"] for each in tokens[1]["top_logprobs"]] == ["."]
    assert [token["token"] for token in tokens] == ["é", "!"]


def post_chat(person: Person, **body: Any) -> Any:
    return person.post(f"{ROOT}/chat/completions", body)


def test_an_empty_message_begins_with_a_piece_of_the_corpus(
    harness: ApiHarness, ann: Person, model: Any
) -> None:
    for content in ("", None, []):
        answered(harness, ann, chat, ["a"], model="orwell", content=content)
    assert {job["spec"]["prompt"] for job in ann.items("/v1/jobs?kind=generate")} == {None}


def test_neutral_values_are_accepted(harness: ApiHarness, ann: Person, model: Any) -> None:
    neutral = {
        "max_tokens": 5,
        "max_completion_tokens": 5,
        "tools": [],
        "tool_choice": "auto",
        "functions": [],
        "function_call": "none",
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "reasoning_effort": "none",
        "verbosity": "medium",
        "parallel_tool_calls": True,
        "logprobs": False,
        "top_logprobs": None,
        "audio": None,
        "prediction": {"type": "content", "content": "x"},
        "user": "x",
    }
    assert answered(harness, ann, chat, ["a"], model="orwell", **neutral).status_code == 200


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"function_call": {"name": "f"}}, "function_call"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "alloy"}}, "audio"),
    ({"reasoning_effort": "high"}, "reasoning_effort"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"frequency_penalty": 1}, "frequency_penalty"),
    ({"best_of": 1}, "best_of"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "messages.1.content.0.type"),
    ({"content": [{"type": "text"}]}, "messages.1.content.0.type"),
    ({"content": {"text": "x"}}, "messages.1.content"),
    ({"content": "a" * 100_001}, "messages.1.content"),
    ({"content": "\N{SNOWMAN}"}, "messages"),
]


def test_what_can_not_be_done_is_a_400_that_names_the_field(ann: Person, model: Any) -> None:
    for fields, field in REFUSED:
        named, message = refused_field(chat(ann, **{"model": "orwell", **fields}))
        assert named == field, (fields, message)
        assert message.startswith(f"{field}: ")
    for messages in ([], [{"role": "system", "content": "x"}], [{"content": "x"}]):
        body = {"model": "orwell", "messages": messages}
        assert refused_field(post_chat(ann, **body))[0] == "messages"
    assert ann.items("/v1/jobs?kind=generate") == []
