"""The stock clients speak to a real server, and get what they expect."""

from pathlib import Path

import httpx2
import pytest

from tests.clients.conftest import Clients
from tests.e2e.home import Home
from tests.services.waiting import until

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("use_*.py"))
#: Its continuation by the model, at temperature 0.
PROMPT = "The quick"


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_client_gets_what_it_asks_for(clients: Clients, program: Path) -> None:
    assert clients.python(program).endswith("all is well\n")


def test_llm(clients: Clients) -> None:
    llm = Path(clients.environment["LLM_USER_PATH"])
    llm.mkdir()
    kinds = {"fox": "completion: true", "chat": "can_stream: true"}
    (llm / "extra-openai-models.yaml").write_text(
        "".join(
            f"- model_id: {name}\n  model_name: fox\n  api_base: {clients.url}\n"
            f"  api_key_name: quire\n  {kind}\n"
            for name, kind in kinds.items()
        )
    )
    clients.run("llm", "keys", "set", "quire", "--value", clients.key)
    options = ("-o", "max_tokens", "20", "-o", "seed", "7")
    texts = {
        clients.run("llm", "-m", model, *stream, *options, PROMPT)
        for model in kinds
        for stream in ((), ("--no-stream",))
    }
    assert len(texts) == 1, "the four ways differ"
    assert len(texts.pop().rstrip("\n")) == 20


def test_what_open_webui_sends(clients: Clients) -> None:
    """The requests of a connection and of a chat, from its documentation."""
    headers = {"Authorization": f"Bearer {clients.key}", "X-OpenWebUI-User-Name": "Ann"}
    with httpx2.Client(base_url=f"{clients.url}/", headers=headers) as client:
        listed = client.get("models").json()["data"]
        assert {model["id"] for model in listed} >= {"fox", "words"}
        chat = {
            "model": "fox",
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [
                {"role": "system", "content": "Antworte auf Deutsch!"},
                {"role": "user", "content": "The lazy"},
                {"role": "assistant", "content": " dog"},
                {"role": "user", "content": PROMPT},
            ],
            "max_tokens": 20,
        }
        answer = client.post("chat/completions", json=chat)
        assert answer.headers["content-type"] == "text/event-stream"
        lines = [line for line in answer.text.split("\n") if line]
        assert all(line.startswith("data: ") for line in lines)
        assert lines[-1] == "data: [DONE]"
        # It asks for a title after the first answer, with a long prompt of its own.
        title = {"model": "fox", "stream": False, "max_completion_tokens": 1000}
        title["messages"] = [{"role": "user", "content": "### Task:\nGenerate a title 🎯"}]
        refused = client.post("chat/completions", json=title)
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "messages"


HANG_UP = {
    "a stream": "next(iter(ask(stream=True))).choices",
    "a request that waits": "ask(timeout=1)",
}
LONG = """
from openai import APITimeoutError, OpenAI

def ask(**options):
    client = OpenAI(max_retries=0)
    return client.completions.create(model="fox", prompt="The", max_tokens=100_000, n=8, **options)

try:
    {}
except APITimeoutError:
    pass
"""


@pytest.mark.parametrize("way", HANG_UP)
def test_a_client_that_hangs_up_cancels_its_text(clients: Clients, home: Home, way: str) -> None:
    clients.python("-c", LONG.format(HANG_UP[way]))

    def is_cancelled() -> bool:
        job = home.json("jobs")[0]
        assert job["spec"]["n"] == 8
        return bool(job["status"] == "cancelled")

    until(is_cancelled, "the text that nobody waits for is cancelled")


def test_all_of_it_is_jobs(clients: Clients, home: Home) -> None:
    """What a client asks for stands in the list of jobs, and its texts in that of texts."""
    ask = "OpenAI().completions.create(model='fox', prompt='The')"
    clients.python("-c", f"from openai import OpenAI; {ask}")
    assert home.json("jobs")[0]["kind"] == "generate"
    assert home.json("texts")
