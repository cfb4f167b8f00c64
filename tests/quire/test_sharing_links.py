"""`quire share`, `quire shares`, `quire unshare`, and `quire keep`."""

import json

import pytest

from quire.client import ApiError, Client
from quire.main import run
from tests.quire.conftest import Served


@pytest.fixture
def text(served: Served) -> str:
    """The id of a text of a generation that has ended."""
    model = served.world.model(served.ann, name="muse")
    job = served.ann.post("/v1/generate", {"model": model["id"], "name": "verse"}).json
    served.world.write(job, ["a rose is a rose"])
    return str(served.ann.get(f"/v1/jobs/{job['id']}").json["texts"][0]["id"])


def test_a_link_is_made_listed_and_revoked(
    served: Served, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["share", "verse"]) == 0
    told = capsys.readouterr()
    url = told.out.strip()
    assert url.startswith(f"{served.url}/shared#quire_share_")
    assert "Whoever has this link sees the job" in told.err
    token = url.partition("#")[2]
    with Client(served.url) as stranger:
        shared = stranger.shared(token)
        assert shared.job is not None
        assert (shared.kind, shared.owner, shared.job.name) == ("job", "ann", "verse")
    assert run(["share", text, "--expires", "12h", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["kind"], made["text"]) == ("text", text)
    with Client(served.url) as stranger:
        shown = stranger.shared(made["token"]).text
        assert shown is not None
        assert shown.text == "a rose is a rose"
    assert run(["shares"]) == 0
    listed = capsys.readouterr().out
    assert made["id"] in listed
    assert "quire_share_" not in listed
    assert run(["unshare", made["id"]]) == 0
    with Client(served.url) as stranger, pytest.raises(ApiError, match="was revoked"):
        stranger.shared(made["token"])
    assert run(["share", "nothing"]) == 3
    assert run(["share", "verse", "--expires", "soon"]) == 2
    capsys.readouterr()


def test_a_text_is_kept(served: Served, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["texts", "--kept"]) == 0
    assert "You keep no texts" in capsys.readouterr().err
    assert run(["keep", text, "--note", "the best"]) == 0
    assert "Kept" in capsys.readouterr().err
    assert run(["texts", "--kept"]) == 0
    listed = capsys.readouterr().out
    assert text in listed
    assert "the best" in listed
    assert run(["keep", text, "--drop", "--note", "x"]) == 2
    assert run(["keep", text, "--drop", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kept"], told.get("note")) == (False, None)
