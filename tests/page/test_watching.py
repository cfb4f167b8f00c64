"""Curves with marks, trainings over each other, and the notification at the end."""

import random
import re
from string import ascii_lowercase

from playwright.sync_api import expect

from quire.watch.wait import wait_for_job
from tests.page.conftest import PATIENCE_MILLISECONDS, TINY_NUMBERS, Server, Taught, Visit

ENDLESS = TINY_NUMBERS | {"epochs": 10_000, "patience": None, "learning_rate": 1e-4}
#: There is nothing to learn, so at this rate the loss explodes, whatever the seed.
NOISE = "".join(random.Random(3).choices(ascii_lowercase, k=6000))
EXPLODING = {"preset": "classic", "window": 16, "units": 64, "epochs": 3, "learning_rate": 1.0}


def test_rollbacks_pauses_and_resumes_are_marked(
    server: Server, visit: Visit, taught: Taught
) -> None:
    with server.client(taught.user) as ann:
        job = ann.submit_training({"corpus": taught.corpus, "name": "marked", **ENDLESS})
        visitor = visit(taught.user)
        page = visitor.page
        visitor.go(f"/watch/{job.id}")
        marks = page.locator(".marks")
        page.get_by_role("img").wait_for()
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("button", name="Resume").click()
        expect(marks.locator(".pause")).to_have_count(1, timeout=PATIENCE_MILLISECONDS)
        expect(marks.locator(".resume")).to_have_count(1, timeout=PATIENCE_MILLISECONDS)
        # At one step, or at two if it went on for some steps before it paused.
        expect(page.get_by_role("img")).to_have_attribute("data-marks", re.compile("^[12]$"))
        page.get_by_text("by time").click()
        expect(page.get_by_role("radio", name="by time")).to_be_checked()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".status")).to_have_text("cancelled", timeout=PATIENCE_MILLISECONDS)

        noise = ann.upload_corpus(NOISE.encode(), name="noise")
        exploded = ann.submit_training({"corpus": noise.id, "name": "exploded", **EXPLODING})
        visitor.go(f"/watch/{exploded.id}")
        expect(marks.locator(".rollback").first).to_contain_text(
            "the loss exploded", timeout=PATIENCE_MILLISECONDS
        )
        wait_for_job(ann, exploded, watch=False)


def test_texts_of_one_temperature_through_the_epochs(visit: Visit, taught: Taught) -> None:
    visitor = visit(taught.user)
    page = visitor.page
    visitor.go(f"/watch/{taught.job}")
    texts = page.get_by_role("article")
    expect(texts).to_have_count(4)
    page.get_by_text("all epochs at 0.5").click()
    expect(texts).to_have_count(TINY_NUMBERS["epochs"])
    expect(texts.first).to_contain_text("after epoch 1")
    expect(texts.last).to_contain_text("after epoch 2")
    page.get_by_text("one epoch").click()
    expect(texts).to_have_count(4)


def test_trainings_over_each_other(server: Server, visit: Visit, taught: Taught) -> None:
    with server.client(taught.user) as ann:
        running = ann.submit_training({"corpus": taught.corpus, "name": "overlaid", **ENDLESS})
        visitor = visit(taught.user)
        page = visitor.page
        visitor.go("/watch")
        page.get_by_label("Kind").select_option("train")
        page.get_by_label("Compare reynard").check()
        expect(page.get_by_text("Choose another training")).to_be_visible()
        page.get_by_label("Compare renart").check()
        page.get_by_label("Compare overlaid").check()
        page.get_by_role("link", name="Show 3 over each other").click()
        expect(page.get_by_role("row")).to_have_count(4)
        points = "Number(document.querySelector('[role=img]')?.dataset.points)"
        page.wait_for_function(f"() => {points} > 4")
        before = page.evaluate(points)
        page.wait_for_function(f"() => {points} > {before}", timeout=PATIENCE_MILLISECONDS)
        page.get_by_text("Training loss").first.click()
        page.get_by_text("by time").click()
        expect(page.get_by_role("radio", name="by time")).to_be_checked()
        page.reload()
        expect(page.get_by_role("row")).to_have_count(4)
        ann.cancel_job(running.id)
        row = page.get_by_role("row").filter(has_text="overlaid")
        expect(row).to_contain_text("cancelled", timeout=PATIENCE_MILLISECONDS)


def test_a_notification_comes_at_the_end_to_who_asked(
    server: Server, visit: Visit, taught: Taught
) -> None:
    with server.client(taught.user) as ann:
        job = ann.submit_training({"corpus": taught.corpus, "name": "awaited", **ENDLESS})
        visitor = visit(taught.user)
        page = visitor.page
        # The browser's own constructor, which also writes down what it made.
        page.add_init_script(
            "window.told = []; window.Notification = class extends Notification {"
            "constructor(title, options) { super(title, options);"
            "window.told.push(`${title}: ${options.body}`); } };"
        )
        visitor.go(f"/watch/{job.id}")
        button = page.get_by_role("button", name="Tell me when it ends")
        button.wait_for()
        assert page.evaluate("Notification.permission") != "granted", "nobody asks unasked"
        visitor.context.grant_permissions(["notifications"])
        button.click()
        expect(page.get_by_role("button", name="You will be told")).to_be_visible()
        page.reload()
        expect(page.get_by_role("button", name="You will be told")).to_be_visible()
        page.get_by_role("link", name="Teach", exact=True).click()
        ann.cancel_job(job.id)
        page.wait_for_function("() => window.told.length", timeout=PATIENCE_MILLISECONDS)
        assert page.evaluate("window.told") == ["awaited: cancelled"]
