"""The caps of a group: of each member, and of all members together."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from shared import blobs, groups
from shared.database import make_sessions
from shared.ids import new_id
from shared.queue.types import CheckpointRecord, Submission
from shared.scheduling import cap_checks
from shared.scheduling.candidates import Rules
from shared.scheduling.errors import GroupFull, GroupsOver, QueueFull
from shared.scheduling.forecast_queries import places, read_forecast
from shared.scheduling.policy import must_yield
from shared.tables import Corpus, Group, Job, Membership, User
from tests.queue.conftest import QueueHarness
from tests.queue.test_caps import THREADS, at_once, slow_count  # noqa: F401


def make_group(harness: QueueHarness, name: str = "class", **values: Any) -> str:
    """Make a group with these columns; it has no members yet."""
    with make_sessions(harness.engine).begin() as session:
        return groups.create_group(session, name, values.pop("ends_at", None), values).id


def join(harness: QueueHarness, group_id: str, *names: str, role: str = "member") -> None:
    rows = [
        {
            "group_id": group_id,
            "user_id": harness.user(name),
            "role": role,
            "created_at": harness.clock.now,
        }
        for name in names
    ]
    with harness.engine.begin() as connection:
        connection.execute(insert(Membership), rows)


def end(harness: QueueHarness, group_id: str) -> None:
    with harness.engine.begin() as connection:
        connection.execute(
            update(Group).where(Group.id == group_id).values(ends_at=harness.clock.now)
        )
    harness.clock.move(1)


def waits_for(harness: QueueHarness, user: str, job_id: str) -> str:
    """The reason of a job's place in line."""
    user_id, job = harness.user(user), harness.job(job_id)
    with harness.engine.connect() as connection:
        forecast = read_forecast(connection, "train", harness.settings, harness.clock.now)
        found = places(connection, forecast, user_id, [job])
    return found[job_id].reason


@pytest.mark.usefixtures("slow_count")
def test_the_queued_jobs_of_all_members_hold_when_all_submit_at_once(
    harness: QueueHarness,
) -> None:
    group = make_group(harness, max_queued=4)
    names = [f"user{number}" for number in range(THREADS)]
    join(harness, group, *names)
    waiting = iter(names)
    results = at_once(lambda: harness.submit(next(waiting)))
    assert sum(isinstance(result, GroupFull) for result in results) == THREADS - 4
    with harness.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Job)) == 4
    harness.submit("stranger")
    with pytest.raises(GroupFull, match=r"group 'class' may have 4 queued jobs together") as why:
        harness.submit(names[0])
    assert why.value.retry_seconds


def test_submissions_that_share_a_transaction_count_together(harness: QueueHarness) -> None:
    join(harness, make_group(harness, max_queued=2), "ada", "grace", "hedy")
    submissions = {new_id(): submission(harness, name) for name in ("ada", "grace", "hedy")}
    with harness.engine.begin() as connection:
        assert harness.queue.admit(connection, submissions) == [], "each goes alone instead"
        two = dict(list(submissions.items())[:2])
        harness.queue.insert(connection, harness.queue.admit(connection, two))
    with pytest.raises(GroupFull):
        harness.submit("hedy")


def submission(harness: QueueHarness, name: str) -> Submission:
    spec = {"checkpoint": "best"}
    user_id = harness.user(name)
    return Submission("generate", user_id, "a job", spec, harness.model_id, harness.corpus_id)


def test_the_running_trainings_of_all_members_are_bounded(harness: QueueHarness) -> None:
    join(harness, make_group(harness, max_running=2), "ada", "grace", "hedy")
    for name in ("ada", "grace", "hedy"):
        harness.submit(name)
    [of_stranger] = harness.submit("stranger")
    claimed = harness.claim(limit=9)
    assert len(claimed) == 3, "two of the group's, and the stranger's"
    assert of_stranger in {claim.job_id for claim in claimed}
    with harness.engine.connect() as connection:
        left = connection.execute(select(Job.id, Job.user_id).where(Job.status == "queued")).one()
    name = next(name for name, user_id in harness.users.items() if user_id == left.user_id)
    assert waits_for(harness, name, left.id) == "the cap of 2 running of the group 'class'"
    harness.submit("ada", "generate", 3)
    assert len(harness.claim("generate", 5)) == 3, "the cap counts trainings only"
    ended = next(claim for claim in claimed if claim.job_id != of_stranger)
    harness.queue.succeed(ended)
    assert [claim.job_id for claim in harness.claim(limit=9)] == [left.id]


def test_the_device_time_of_all_members_is_bounded(harness: QueueHarness) -> None:
    quantum = harness.settings.quantum_seconds
    group = make_group(harness, max_device_seconds_per_day=1.5 * quantum)
    join(harness, group, "ada", "grace", "hedy")
    jobs = [harness.submit(name)[0] for name in ("ada", "grace", "hedy")]
    claims = [claim for _ in range(4) for claim in harness.claim()]
    assert [claim.job_id for claim in claims] == jobs[:2], "each reserves a quantum"
    assert (
        waits_for(harness, "hedy", jobs[2]) == "the cap of device time a day of the group 'class'"
    )
    with pytest.raises(GroupFull, match=r"450 device-seconds that they may use together") as why:
        harness.submit("grace")
    assert why.value.retry_seconds == 24 * 3600
    harness.clock.move(quantum + 1)
    rules = Rules.of(harness.settings, "train")
    with harness.engine.connect() as connection:
        assert must_yield(connection, jobs[0], rules, harness.clock.now)
    for claim in claims:
        harness.queue.succeed(claim)
    assert harness.claim() == []
    harness.clock.now += timedelta(days=1)
    assert [claim.job_id for claim in harness.claim()] == jobs[2:]


def test_the_bytes_of_all_members_are_bounded(harness: QueueHarness) -> None:
    join(harness, make_group(harness, max_stored_bytes=9 + 30), "ada", "grace")
    harness.user("stranger")
    with make_sessions(harness.engine).begin() as session:
        connection = session.connection()
        cap_checks.check_corpus(connection, harness.settings, harness.user("grace"), 30)
        with pytest.raises(GroupFull, match="may store 39 bytes together"):
            cap_checks.check_corpus(connection, harness.settings, harness.user("grace"), 31)
        cap_checks.check_corpus(connection, harness.settings, harness.user("stranger"), 31)
    harness.submit("ada")
    [claim] = harness.claim()

    def save(step: int) -> None:
        sha256 = blobs.store(harness.engine, b"%020d" % step)
        harness.queue.record_checkpoint(
            claim, CheckpointRecord(step, 0.1, 1.0, 1.0, "d" * 64, sha256, 20, {})
        )

    save(1)
    with pytest.raises(GroupFull):
        save(2)
    assert harness.events(claim.job_id).count("checkpoint") == 1
    with harness.engine.begin() as connection:
        connection.execute(update(Corpus).values(bytes=19))
    with pytest.raises(GroupFull):
        harness.submit("grace")
    harness.submit("grace", "generate")


def test_a_member_has_the_most_generous_cap_of_the_groups_unless_an_admin_set_one(
    harness: QueueHarness,
) -> None:
    join(harness, make_group(harness, "small", member_max_queued=1), "ada", "grace", "hedy")
    join(harness, make_group(harness, "large", member_max_queued=3), "grace", "hedy")
    join(harness, make_group(harness, "silent"), "hedy")
    with pytest.raises(QueueFull, match="one user may have 1:"):
        harness.submit("ada", count=2)
    with pytest.raises(QueueFull, match="one user may have 3:"):
        harness.submit("grace", count=4)
    harness.submit("hedy", count=4)  # a group that sets no cap gives the server's
    harness.change("ada", max_queued=2)
    harness.submit("ada", count=2)


def test_a_member_s_cap_of_running_and_device_time_bind_the_claim(harness: QueueHarness) -> None:
    quantum = harness.settings.quantum_seconds
    group = make_group(harness, member_max_running=1, member_max_device_seconds_per_day=quantum)
    join(harness, group, "ada")
    jobs = harness.submit("ada", count=2)
    assert len(harness.claim(limit=5)) == 1
    harness.clock.move(quantum)
    assert harness.claim("generate", 5) == []
    with harness.engine.connect() as connection:
        rules = Rules.of(harness.settings, "train")
        assert must_yield(connection, jobs[0], rules, harness.clock.now)


def test_the_caps_do_not_concern_teachers_or_groups_that_have_ended(harness: QueueHarness) -> None:
    group = make_group(harness, max_queued=1, member_max_queued=1)
    join(harness, group, "ada", "grace")
    join(harness, group, "hedy", role="teacher")
    harness.submit("hedy", count=3)
    harness.submit("ada")
    with pytest.raises(GroupFull):
        harness.submit("grace")
    end(harness, group)
    harness.submit("grace", count=3)


def test_a_user_who_was_made_for_a_group_waits_once_it_is_over(harness: QueueHarness) -> None:
    group = make_group(harness)
    join(harness, group, "grace")
    harness.change("grace", teacher_id=harness.user("ada"))
    running, waiting = harness.submit("grace", count=2)
    written = harness.submit("grace", "generate")
    [claim] = harness.claim()
    assert claim.job_id == running
    end(harness, group)
    assert harness.claim() == []
    assert harness.claim("generate") == []
    assert "is over" in waits_for(harness, "grace", waiting)
    with pytest.raises(GroupsOver, match="Ask an admin"):
        harness.submit("grace")
    with harness.engine.begin() as connection, pytest.raises(GroupsOver):
        cap_checks.check_corpus(connection, harness.settings, harness.user("grace"), 1)
    harness.clock.move(harness.settings.quantum_seconds)
    with harness.engine.connect() as connection:
        rules = Rules.of(harness.settings, "train")
        assert must_yield(connection, running, rules, harness.clock.now)
    harness.queue.release(claim, "yielded")
    assert harness.claim() == []
    harness.change("grace", max_running=1)  # an admin lets the user go on
    assert len(harness.claim()) == 1
    assert [claim.job_id for claim in harness.claim("generate")] == written


def test_constraints_of_groups(harness: QueueHarness) -> None:
    group = make_group(harness)
    with pytest.raises(groups.GroupNameTaken):
        make_group(harness)
    with pytest.raises(groups.BadGroupName):
        make_group(harness, "a b")
    with pytest.raises(Exception, match="ck_memberships_role"):
        join(harness, group, "ada", role="king")
    with harness.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(User)) == 1
