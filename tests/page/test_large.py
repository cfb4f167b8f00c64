"""Much of everything: long lists, a long text, a curve of many points."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Dialog, expect
from sqlalchemy import Connection, create_engine, insert, select

from shared.ids import new_id
from shared.tables import Base, Checkpoint, GeneratedText, Job, Metric, Model, User
from tests.page.conftest import PATIENCE_MILLISECONDS, Server, Taught, Visit, Visitor

JOBS = 3000
MODELS = 200
POINTS = 100_000
CHARACTERS = 100_000
#: How long the thread of the page may be taken at once, on a machine that is busy.
LONGEST_TASK_MILLISECONDS = 2000
WATCH_TASKS = """
window.longest = 0;
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({ entryTypes: ["longtask"] });
"""


@dataclass(frozen=True)
class Archive:
    """What the user `archivist` has."""

    curve: str
    text: str


@pytest.fixture(scope="module")
def archive(server: Server, taught: Taught) -> Archive:
    """Jobs, models, points and a text, as rows: to make them for real would take hours."""
    server.key_of("archivist")
    engine = create_engine(f"sqlite:///{server.home.data_dir / 'quire.db'}")
    with engine.begin() as connection:
        owner = connection.execute(select(User.id).where(User.name == "archivist")).scalar_one()
        model = _row(connection, Model, Model.id == taught.model)
        checkpoint = _row(connection, Checkpoint, Checkpoint.model_id == taught.model)
        job = _row(connection, Job, Job.id == taught.job)
        models = [model | {"id": new_id(), "user_id": owner} for _ in range(MODELS)]
        for number, each in enumerate(models):
            each["name"] = f"model {number}"
        connection.execute(insert(Model), models)
        jobs = [
            job | {"id": new_id(), "user_id": owner, "name": f"job {number}"}
            for number in range(JOBS)
        ]
        for each, of in zip(jobs, models, strict=False):
            each["model_id"] = of["id"]
        connection.execute(insert(Job), jobs)
        connection.execute(
            insert(Checkpoint),
            [
                checkpoint | {"id": new_id(), "model_id": of["id"], "job_id": each["id"]}
                for each, of in zip(jobs, models, strict=False)
            ],
        )
        curve, text = jobs[0]["id"], jobs[1]["id"]
        begun = datetime.now(UTC) - timedelta(days=1)
        connection.execute(
            insert(Metric),
            [
                {
                    "job_id": curve,
                    "step": step,
                    "epoch": step / 1000,
                    "loss": 4 / (1 + step / 5000) + (step * 7919 % 100) / 500,
                    "at": begun + timedelta(seconds=step / 10),
                }
                for step in range(1, POINTS + 1)
            ],
        )
        sample = _row(connection, GeneratedText, GeneratedText.job_id == taught.job)
        long = "Aphorisms, one after the other, and none of them short. " * 2000
        connection.execute(
            insert(GeneratedText),
            [
                sample
                | {"id": new_id(), "job_id": text, "user_id": owner, "text": long[:CHARACTERS]}
            ],
        )
    engine.dispose()
    return Archive(curve, text)


def _row(connection: Connection, table: type[Base], condition: Any) -> dict[str, Any]:
    statement = select(table.__table__).where(condition).limit(1)
    return dict(connection.execute(statement).mappings().one())


def longest_task(visitor: Visitor) -> float:
    return float(visitor.page.evaluate("window.longest"))


def test_long_lists_come_page_by_page(visit: Visit, archive: Archive) -> None:
    visitor = visit("archivist")
    visitor.context.add_init_script(WATCH_TASKS)
    page = visitor.page
    visitor.go("/watch")
    rows = page.locator(".list li")
    expect(rows).to_have_count(50)
    expect(rows.first).to_contain_text(f"job {JOBS - 1}")
    for count in (100, 150):
        page.get_by_role("button", name="Show more").click()
        expect(rows).to_have_count(count)
    assert len(set(rows.get_by_role("link").all_inner_texts())) == 150
    visitor.go("/")
    expect(page.get_by_role("link", name=f"model {MODELS - 1}", exact=True)).to_be_visible()
    visitor.go("/write")
    options = page.get_by_label("Model", exact=True).locator("option")
    expect(options).to_have_count(MODELS)
    page.get_by_label("Model", exact=True).select_option(label="model 0")
    page.reload()
    expect(page.get_by_label("Model", exact=True)).to_have_value(
        options.filter(has_text="model 0").first.get_attribute("value") or ""
    )
    assert longest_task(visitor) < LONGEST_TASK_MILLISECONDS


def test_a_curve_of_many_points_is_thinned_and_stays_smooth(visit: Visit, archive: Archive) -> None:
    visitor = visit("archivist")
    visitor.context.add_init_script(WATCH_TASKS)
    page = visitor.page
    visitor.go(f"/watch/{archive.curve}")
    chart = page.get_by_role("img")
    chart.wait_for()
    assert 500 <= int(chart.get_attribute("data-points") or 0) <= 1500
    page.get_by_text("by time").click()
    page.get_by_text("by step").click()
    visitor.page.set_viewport_size({"width": 500, "height": 700})
    expect(chart).to_be_visible()
    assert longest_task(visitor) < LONGEST_TASK_MILLISECONDS


def test_a_text_of_many_characters_is_shown_and_pasted(visit: Visit, archive: Archive) -> None:
    visitor = visit("archivist", width=360, height=740)
    visitor.context.add_init_script(WATCH_TASKS)
    page = visitor.page
    visitor.go(f"/watch/{archive.text}")
    text = page.get_by_role("article").locator(".text")
    expect(text).to_contain_text("Aphorisms")
    assert len(text.inner_text()) >= CHARACTERS
    assert longest_task(visitor) < LONGEST_TASK_MILLISECONDS
    # Chromium takes its time for thousands of lines in a field.
    pasted = ("Part of a long text that somebody pasted. " * 20 + "\n") * (CHARACTERS // 841)
    visitor.go("/teach")
    field = page.get_by_label("or paste a text")
    field.fill(pasted)
    expect(page.locator(".found")).to_contain_text("characters", timeout=PATIENCE_MILLISECONDS)
    page.reload()
    expect(field).to_have_value(pasted)
    visitor.go("/write")
    page.get_by_label("Beginning").fill(pasted + pasted)
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("100000")
    assert int(page.evaluate("document.documentElement.scrollWidth")) <= 360


def test_what_the_storage_can_not_keep_is_not_lost_unasked(visit: Visit, archive: Archive) -> None:
    visitor = visit("archivist")
    page = visitor.page
    visitor.go("/teach")
    page.evaluate(
        "() => { for (let size = 2 ** 23; size; size >>= 1)"
        "try { sessionStorage.setItem(`filler ${size}`, 'x'.repeat(size)); } catch {} }"
    )
    page.get_by_label("or paste a text").type("More than there is room for.")
    asked: list[str] = []

    def accept(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", accept)
    page.reload()
    assert asked == ["beforeunload"]
