"""Known keys: a key is confirmed together with what it submits, and nothing is granted before."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from api.known_keys import MOST_KNOWN, KnownKeys
from shared.accounts import disable_user
from shared.database import make_sessions
from shared.tables import ApiKey, User
from tests.api.groups import Groups, generations, sender, statuses
from tests.api.harness import ApiHarness, Person, expire, problem
from tests.services.statements import noted_statements
from tests.services.waiting import until

PLAIN = {"prompt": "It ", "length": 5}


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> Groups:
    return Groups(monkeypatch)


@pytest.fixture
def known(harness: ApiHarness, ann: Person) -> dict[str, Any]:
    """What Ann asks for, with a key that is known since she has done so."""
    body = {"model": harness.model(ann)["id"], **PLAIN}
    assert ann.post("/v1/generate", body).status_code == 202
    return body


def change_key(harness: ApiHarness, person: Person, **values: Any) -> None:
    prefix = person.key.split("_")[1]
    with make_sessions(harness.engine).begin() as session:
        session.execute(update(ApiKey).where(ApiKey.prefix == prefix).values(**values))


def revoke(harness: ApiHarness, person: Person) -> None:
    with make_sessions(harness.engine).begin() as session:
        key = session.query(ApiKey).filter_by(prefix=person.key.split("_")[1]).one()
        key.revoked_at = key.created_at


def disable(harness: ApiHarness, person: Person) -> None:
    with make_sessions(harness.engine).begin() as session:
        disable_user(session, session.query(User).filter_by(name=person.name).one())


def test_a_known_key_is_looked_up_once_for_a_group(
    harness: ApiHarness, ann: Person, known: dict[str, Any], groups: Groups
) -> None:
    plain = sender(harness, ann, known)
    with noted_statements(harness.engine) as statements:
        answers = groups.together(harness, plain, [plain] * 5)
    assert statuses(answers) == [202] * 6
    assert groups.declined == [0, 0]
    assert sum("api_keys" in each for each in statements if each.startswith("SELECT")) == 2


@pytest.mark.parametrize("end", [revoke, disable, expire])
def test_a_known_key_that_is_not_valid_any_more_submits_nothing(
    harness: ApiHarness,
    ann: Person,
    bob: Person,
    known: dict[str, Any],
    groups: Groups,
    end: Callable[[ApiHarness, Person], object],
) -> None:
    ann.patch(f"/v1/models/{known['model']}", {"visibility": "server"})
    assert bob.post("/v1/generate", known).status_code == 202
    before = generations(harness)
    of_ann, of_bob = sender(harness, ann, known), sender(harness, bob, known)
    end(harness, ann)
    # One group has both, and Bob's text does not suffer.
    answers = groups.together(harness, of_bob, [of_ann, of_bob, of_ann])
    assert statuses(answers) == [202, 401, 202, 401]
    assert groups.declined[-2:] == [0, 2]
    assert generations(harness) == before + 2
    alone = ann.post("/v1/generate", known)
    assert answers[1].text == problem_text(alone)


def problem_text(response: Any) -> str:
    problem(response, 401)
    return str(response.text)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/generate", {}),
        ("/v1/generate", {"length": -1}),
        ("/v1/generate", {"model": "00000000-0000-4000-8000-000000000000"}),
        ("/v1/generate", {"prompt": "It " * 2000}),
        ("/v1/generate", {"notify": [{"kind": "webhook", "url": "https://example.org/hook"}]}),
        ("/v1/next", {"prompt": "It "}),
        ("/v1/score", {"text": "It was"}),
        ("/v1/score", {"text": "It was " * 40_000}),
    ],
)
@pytest.mark.parametrize("wait", [{}, {"Prefer": "wait=5"}])
def test_a_revoked_key_is_told_nothing_but_that(
    harness: ApiHarness,
    ann: Person,
    known: dict[str, Any],
    path: str,
    body: dict[str, Any],
    wait: dict[str, str],
) -> None:
    base = known if path == "/v1/generate" else {"model": known["model"]}
    before = generations(harness)
    revoke(harness, ann)
    problem(ann.post(path, base | body, headers=wait), 401)
    # Now it is not even known any more.
    problem(ann.post(path, base | body, headers=wait), 401)
    assert generations(harness) == before


def test_a_group_serves_others_than_a_leader_whose_key_is_revoked(
    harness: ApiHarness, ann: Person, bob: Person, known: dict[str, Any], groups: Groups
) -> None:
    ann.patch(f"/v1/models/{known['model']}", {"visibility": "server"})
    keyed = {"Idempotency-Key": "of-bob"}
    of_bob, of_ann = sender(harness, bob, known, **keyed), sender(harness, ann, known)
    first = sender(harness, bob, known)
    submissions = harness.app.extensions["quire"].text_submissions

    def of_bob_later() -> Any:
        # Bob's text has its place in the queue rendered in the transaction that Ann leads.
        until(lambda: submissions._waiting, "Ann leads the group")
        return of_bob()

    revoke(harness, ann)
    answers = groups.together(harness, first, [of_ann, of_bob_later])
    assert statuses(answers) == [202, 401, 202]
    job: Any = answers[2].json
    assert job["owner"] == "bob"
    assert bob.post("/v1/generate", known, headers=keyed).json == job


def test_a_replay_is_not_told_to_a_revoked_key(
    harness: ApiHarness, ann: Person, known: dict[str, Any]
) -> None:
    keyed = {"Idempotency-Key": "once"}
    assert ann.post("/v1/generate", known, headers=keyed).status_code == 202
    revoke(harness, ann)
    problem(ann.post("/v1/generate", known, headers=keyed), 401)


def test_what_a_known_key_may_do_is_read_anew(
    harness: ApiHarness, ann: Person, known: dict[str, Any]
) -> None:
    before = generations(harness)
    change_key(harness, ann, scopes="read")
    problem(ann.post("/v1/generate", known), 403)
    assert generations(harness) == before
    change_key(harness, ann, scopes="read submit")
    assert ann.post("/v1/generate", known).status_code == 202


def test_a_new_name_is_in_the_answer(
    harness: ApiHarness, ann: Person, known: dict[str, Any]
) -> None:
    with make_sessions(harness.engine).begin() as session:
        session.execute(update(User).where(User.name == "ann").values(name="anna"))
    job: Any = ann.post("/v1/generate", known).json
    assert job["owner"] == "anna"


def test_another_secret_with_a_known_prefix_is_refused(
    harness: ApiHarness, ann: Person, known: dict[str, Any]
) -> None:
    wrong = re.sub(r".$", lambda last: "1" if last[0] == "0" else "0", ann.key)
    other = Person(harness.app.test_client(), "ann", wrong)
    problem(other.post("/v1/generate", known), 401)


def test_a_process_knows_so_many_keys_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: KnownKeys[int] = KnownKeys()
    for number in range(MOST_KNOWN + 1):
        keys.note(f"key {number}", number)
    assert keys.find("key 0") is None
    assert keys.find("key 1") == 1
    keys.forget("key 1")
    assert keys.find("key 1") is None
    monkeypatch.setattr("api.known_keys.KNOWN_SECONDS", -1.0)
    keys.note("key 2", 2)
    assert keys.find("key 2") is None
