"""What the page shows while things happen: two users, a dead server, many tabs."""

import re

from playwright.sync_api import Page, expect

from tests.page.conftest import PATIENCE_MILLISECONDS, TINY_NUMBERS, Server, Taught, Visit

#: A low rate, at which so many steps on so short a text don't diverge.
ENDLESS = TINY_NUMBERS | {"epochs": 10_000, "patience": None, "learning_rate": 1e-4}
#: Chromium's own words for a server that is away.
AWAY = re.compile(r"net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|INCOMPLETE)")
TABS = 8
#: How long `quire up` may take to restart a part, on a machine that is busy.
RESTART_MILLISECONDS = 180_000.0


def test_two_users_at_once_do_not_see_each_other(
    server: Server, visit: Visit, taught: Taught
) -> None:
    ann, bob = visit(taught.user), visit("bob")
    bob.go("/")
    expect(bob.page.get_by_text("No model yet.")).to_be_visible()
    answers = []
    for path in (taught.job, "01890a5d-ac96-774b-bcce-b302099a8057"):
        bob.go(f"/watch/{path}")
        alert = bob.page.get_by_role("alert")
        expect(alert).to_contain_text("does not exist, or you may not see it")
        answers.append(alert.inner_text().replace(path, ""))
    assert answers[0] == answers[1]
    bob.go("/write")
    expect(bob.page.get_by_text("There is no model that can write yet.")).to_be_visible()
    ann.go(f"/watch/{taught.job}")
    expect(ann.page.get_by_role("heading", name="reynard")).to_be_visible()


def test_the_server_goes_away_in_a_stream_and_is_found_again(
    server: Server, visit: Visit, taught: Taught
) -> None:
    with server.client(taught.user) as client:
        job = client.submit_training({"corpus": taught.corpus, "name": "onward", **ENDLESS})
        visitor = visit(taught.user)
        page = visitor.page
        visitor.go(f"/watch/{job.id}")
        chart = page.get_by_role("img")
        expect(chart).to_be_visible(timeout=PATIENCE_MILLISECONDS)
        server.up.child("api").kill()
        expect(page.get_by_text("The server does not answer.")).to_be_visible(
            timeout=PATIENCE_MILLISECONDS
        )
        points = int(chart.get_attribute("data-points") or 0)
        expect(page.get_by_text("The server does not answer.")).to_be_hidden(
            timeout=RESTART_MILLISECONDS
        )
        page.wait_for_function(
            "(before) => Number(document.querySelector('[role=img]')?.dataset.points) > before",
            arg=points,
            timeout=PATIENCE_MILLISECONDS,
        )
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".status")).to_have_text("cancelled", timeout=PATIENCE_MILLISECONDS)
        steps = [point.step for point in client.job_metrics(job.id, points=1500)]
        assert int(chart.get_attribute("data-points") or 0) >= len(steps) - 1
    visitor.complaints[:] = [each for each in visitor.complaints if not AWAY.search(each)]


def test_eight_open_tabs_still_load(server: Server, visit: Visit, taught: Taught) -> None:
    with server.client(taught.user) as client:
        job = client.submit_training({"corpus": taught.corpus, "name": "tabs", **ENDLESS})
        visitor = visit(taught.user)
        tabs = [visitor.context.new_page() for _ in range(TABS)]
        for tab in tabs:
            tab.goto(f"{server.url}/watch/{job.id}")
            expect(tab.get_by_role("heading", name="tabs")).to_be_visible(
                timeout=PATIENCE_MILLISECONDS
            )
            if tab is not tabs[-1]:
                set_hidden(tab, True)
        client.cancel_job(job.id)
        expect(tabs[-1].locator(".status")).to_have_text("cancelled", timeout=PATIENCE_MILLISECONDS)
        set_hidden(tabs[0], False)
        expect(tabs[0].locator(".status")).to_have_text("cancelled", timeout=PATIENCE_MILLISECONDS)


def set_hidden(tab: Page, hidden: bool) -> None:
    """Tell a page that its tab was left or is back: Chromium without a screen hides no tab."""
    tab.evaluate(
        "(value) => { Object.defineProperty(document, 'hidden', { configurable: true, value });"
        "document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )
