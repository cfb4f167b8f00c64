"""What people are told of the line is what happens: it is compared with the claims."""

import pytest
from sqlalchemy import select

from shared.queue.types import Kind
from shared.scheduling.forecast import Line
from shared.scheduling.forecast_reader import UNKNOWN_SECONDS, own_jobs, places, read_line
from shared.settings import Settings
from shared.tables import PRIORITIES, Job
from shared.worker_registry import WorkerInfo, register
from tests.queue.conftest import World

KINDS: tuple[Kind, ...] = ("train", "generate")
MANY = 1000


@pytest.fixture
def settings() -> Settings:
    return Settings(max_running_per_user=MANY, generate_jobs=4)


def served(world: World, user: str, seconds: float, **more: object) -> None:
    world.change(user, served_seconds=seconds, served_at=world.clock.now, **more)


def line_of(world: World, kind: Kind) -> Line:
    with world.engine.connect() as connection:
        return read_line(connection, kind, world.settings, world.clock.now)


def told(world: World, kind: Kind) -> list[str]:
    """The jobs by the positions that their owners are told, which are those that all are told."""
    line = line_of(world, kind)
    found: dict[int | None, tuple[str, str]] = {}
    own = {}
    with world.engine.connect() as connection:
        for user_id in line.parties:
            own[user_id] = iter(own_jobs(connection, kind, user_id, line.lifted))
            mine = connection.execute(
                select(Job.id, Job.blocked_by).where(
                    Job.user_id == user_id, Job.kind == kind, Job.status == "queued"
                )
            ).all()
            for job_id, place in places(connection, line, user_id, mine).items():
                found[place.position] = job_id, str(place.starts_at)
    turns = [(turn.job_id or next(own[turn.user_id]), str(turn.starts_at)) for turn in line.order()]
    assert found == dict(enumerate(turns, start=1))
    assert line.queued == len(turns)
    return [job_id for job_id, _ in turns]


def claimed(world: World, kind: Kind) -> list[str]:
    """The jobs in the order in which a worker takes them, one after the other."""
    slots = world.settings.generate_jobs if kind == "generate" else 1
    found = []
    while claims := world.queue.claim(kind, f"host/cpu/{kind}", 1, slots=slots):
        found += [claim.job_id for claim in claims]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_of_many_is_in_the_order_of_the_claims(world: World, kind: Kind) -> None:
    served(world, "ada", 400)
    served(world, "grace", 30)
    served(world, "hedy", 1000, share=3.0)
    for count, user in enumerate(("ada", "grace", "hedy", "joan"), start=2):
        world.submit(user, kind, count, PRIORITIES["low"])
        world.submit(user, kind, 2)
    expected = told(world, kind)
    assert len(expected) == 22
    assert claimed(world, kind) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_lifted_jobs_come_first_and_once_and_their_owners_are_charged(
    world: World, kind: Kind
) -> None:
    served(world, "ada", 100)
    served(world, "grace", 120)
    of_ada, of_grace = world.submit("ada", kind, 4), world.submit("grace", kind, 2)
    world.lift(sorted(of_ada)[2])
    world.clock.move(1)
    [only] = world.submit("joan", kind)
    world.lift(only)
    world.clock.move(1)
    world.lift(sorted(of_ada)[0])
    expected = told(world, kind)
    assert expected[:3] == [sorted(of_ada)[2], only, sorted(of_ada)[0]]
    assert expected[3] in of_grace, "two of ada's go before, for which she is charged"
    assert claimed(world, kind) == expected


def test_whom_a_cap_stops_comes_last_though_served_least(world: World) -> None:
    served(world, "grace", 500)
    served(world, "hedy", 400)
    capped = [*world.submit("ada", count=2), *world.submit("joan", count=2)]
    free = {*world.submit("grace", count=2), *world.submit("hedy", count=2)}
    world.lift(capped[1])
    world.change("ada", max_running=0)
    world.change("joan", max_device_seconds_per_day=0.0)
    expected = told(world, "train")
    assert set(expected[:4]) == free
    assert set(expected[4:]) == set(capped)
    assert claimed(world, "train") == expected[:4]


def test_a_lifted_job_takes_its_owner_s_last_place(world: World) -> None:
    world.change("ada", max_running=1)
    first, second, third = sorted(world.submit("ada", count=3))
    served(world, "grace", 500)
    [of_grace] = world.submit("grace")
    world.lift(third)
    assert told(world, "train") == [third, of_grace, first, second]
    assert claimed(world, "train") == [third, of_grace]


def test_a_worker_writes_many_texts_at_once(world: World) -> None:
    worker = WorkerInfo("host", "cpu", "generate", 1, {})
    register(world.engine, worker, ready=True, clock=world.clock)
    world.submit(kind="generate", count=2)
    assert len(world.queue.claim("generate", "host/cpu/generate", 2, slots=4)) == 2
    world.clock.move(0.5)
    world.submit(kind="generate", count=7)
    line = line_of(world, "generate")
    slice_seconds = UNKNOWN_SECONDS["generate"]
    assert (line.workers, line.running, line.queued) == (1, 2, 7)
    starts = [turn.starts_at for turn in line.order()]
    waits = [(start - world.clock.now).total_seconds() for start in starts if start is not None]
    assert waits == [0, 0, slice_seconds - 0.5, slice_seconds - 0.5, *[slice_seconds] * 2,
                     2 * slice_seconds - 0.5]  # fmt: skip
