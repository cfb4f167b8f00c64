"""What admins, teachers and everybody see of the server: people, groups, the line, the audit."""

import re

from playwright.sync_api import Page, expect

from quire.client import Client
from tests.page.conftest import PATIENCE_MILLISECONDS, TINY_NUMBERS, Server, Taught, Visit

ENDLESS = TINY_NUMBERS | {"epochs": 10_000, "patience": None, "learning_rate": 1e-4}
A_CLASS = 30
LINK = re.compile(r"/enrol#(quire_enrol_\w+)$")


def links(page: Page) -> list[str]:
    return page.locator("code.link").all_inner_texts()


def test_thirty_people_from_a_list_and_their_links(server: Server, visit: Visit) -> None:
    names = [f"pupil-{number}" for number in range(A_CLASS)]
    visitor = visit("admin")
    page = visitor.page
    visitor.go("/server/people")
    field = page.get_by_label("Names", exact=True)
    field.fill("\n".join([*names[:2], "admin", "", *names[2:], names[0]]))
    page.reload()
    expect(field).to_have_value(re.compile("pupil-29"))
    page.get_by_role("button", name="Make people and their links (31)").click()
    expect(page.get_by_text("30 of 31 have a link")).to_be_visible(timeout=PATIENCE_MILLISECONDS)
    expect(page.get_by_text("exists already")).to_be_visible()
    expect(field).to_have_value("admin")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the links").click()
    rows = dict(line.split("\t") for line in download.value.path().read_text().splitlines())
    assert list(rows) == names
    assert list(rows.values()) == links(page)
    match = LINK.search(rows["pupil-7"])
    assert match
    with Client(server.url, server.admin.redeem_enrolment(match[1], "laptop")) as pupil:
        assert pupil.me().name == "pupil-7"
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "quire_enrol" not in kept


def test_caps_are_set_and_people_disabled(server: Server, visit: Visit) -> None:
    server.key_of("capped")
    visitor = visit("admin")
    page = visitor.page
    visitor.go("/server/people")
    page.get_by_role("button", name="Use and caps of capped").click()
    running = page.get_by_label("Running trainings")
    running.fill("many")
    page.get_by_role("button", name="Save").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("integer")
    assert (alert.get_attribute("id") or "none") in (
        running.get_attribute("aria-describedby") or ""
    )
    running.fill("1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("0 of 1", exact=True)).to_be_visible()
    with server.client("capped") as capped:
        assert capped.usage().running.cap == 1
    running.fill("")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("0 of 1", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Disable capped").click()
    expect(page.get_by_role("button", name="Enable capped")).to_be_visible()
    user = next(each for each in server.admin.users() if each.name == "capped")
    assert user.disabled_at is not None


def test_a_teacher_manages_a_group(server: Server, visit: Visit) -> None:
    server.key_of("tess")
    admin = visit("admin")
    page = admin.page
    admin.go("/server/groups")
    page.get_by_label("Name of the group").fill("poetry")
    page.get_by_role("button", name="Add").click()
    page.get_by_role("button", name="Manage poetry").click()
    page.get_by_label("Somebody who is here already").fill("tess")
    page.get_by_role("button", name="Add").nth(1).click()
    page.get_by_role("button", name="Make a teacher tess").click()
    expect(page.get_by_role("button", name="Make a member tess")).to_be_visible()

    teacher = visit("tess")
    page = teacher.page
    teacher.go("/server/people")
    expect(page.get_by_text("There is nothing at this address.")).to_be_visible()
    page.get_by_role("link", name="Groups").click()
    page.get_by_role("button", name="Manage poetry").click()
    page.get_by_label("Names", exact=True).fill("eve\nkim")
    page.get_by_role("button", name="Make people and their links (2)").click()
    expect(page.get_by_text("2 of 2 have a link")).to_be_visible(timeout=PATIENCE_MILLISECONDS)
    assert all(LINK.search(link) for link in links(page))
    page.get_by_role("button", name="Disable eve").click()
    expect(page.get_by_role("button", name="Enable eve")).to_be_visible()
    page.get_by_label("Waiting jobs").fill("3")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert server.admin.group("poetry").member_max_queued == 3
    page.get_by_role("button", name="Remove kim").click()
    page.get_by_role("button", name="Sure? kim").click()
    expect(page.get_by_role("button", name="Disable kim")).to_have_count(0)


def test_the_line_says_why_one_waits(server: Server, visit: Visit, taught: Taught) -> None:
    with server.client(taught.user) as ann:
        body = {"corpus": taught.corpus, **ENDLESS}
        first = ann.submit_training(body | {"name": "first"})
        second = ann.submit_training(body | {"name": "second", "after": first.id})
        admin = visit("admin")
        admin.go("/server")
        admin.page.get_by_label("Promote a job").fill(first.id[:-1])
        admin.page.get_by_role("button", name="Promote").click()
        expect(admin.page.get_by_role("alert")).to_contain_text("does not exist")
        visitor = visit(taught.user)
        page = visitor.page
        visitor.go("/server")
        waiting = page.get_by_role("listitem").filter(has_text="second")
        expect(waiting.locator(".reason")).to_contain_text(first.id)
        expect(page.get_by_label("Promote a job")).to_have_count(0)
        page.get_by_role("button", name="Cancel second").click()
        expect(waiting).to_have_count(0)
        assert ann.job(second.id).status == "cancelled"
        ann.cancel_job(first.id)


def test_the_audit_is_filtered(server: Server, visit: Visit, taught: Taught) -> None:
    visitor = visit("admin")
    page = visitor.page
    visitor.go("/server/audit")
    page.get_by_label("What was done").select_option("group.created")
    page.get_by_label("By or to whom").fill("admin")
    rows = page.locator(".list li")
    expect(rows.filter(has_text="name: class")).to_have_count(1)
    expect(rows.filter(has_text="user.created")).to_have_count(0)
    page.reload()
    expect(page.get_by_label("By or to whom")).to_have_value("admin")
    page.get_by_label("By or to whom").fill("nobody")
    expect(page.get_by_text("Nothing like that was done.")).to_be_visible()


def test_an_announcement_is_above_every_view_until_it_is_ended(
    server: Server, visit: Visit
) -> None:
    server.key_of("told")
    visitor = visit("admin")
    admin = visitor.page
    visitor.go("/server")
    said = "The server restarts at six. \u202e<b>Save</b> what you need."
    admin.get_by_label("Message to everyone").fill(said)
    button = admin.get_by_role("button", name="Announce", exact=True)
    admin.get_by_label("Shown for").select_option("a day")
    admin.get_by_text("a warning").click()
    button.click()
    shown = admin.locator(".announced.warning")
    expect(shown).to_contain_text(said)
    expect(shown).to_contain_text("until")
    # Who opens the page later is told in every view.
    visitor = visit("told")
    for view in ("/write", "/library", "/server"):
        visitor.go(view)
        expect(visitor.page.locator(".announced.warning")).to_contain_text(said)
    expect(visitor.page.get_by_label("Message to everyone")).to_have_count(0)
    admin.get_by_role("button", name="End the announcement").click()
    expect(shown).to_have_count(0)


def test_only_admins_can_drain_a_device(server: Server, visit: Visit) -> None:
    server.key_of("onlooker")
    visitor = visit("onlooker")
    visitor.go("/server")
    stop = re.compile("^Drain ")
    expect(visitor.page.get_by_text("writes", exact=False).first).to_be_visible()
    expect(visitor.page.get_by_role("button", name=stop)).to_have_count(0)
    visitor = visit("admin")
    visitor.go("/server")
    # One button for both lanes of the one device.
    expect(visitor.page.get_by_role("button", name=stop)).to_have_count(1)
    # It asks before it acts.
    visitor.page.get_by_role("button", name=stop).click()
    expect(visitor.page.get_by_role("button", name=re.compile("^Sure"))).to_be_visible()
    visitor.page.get_by_role("heading", name="Devices").click()
    expect(visitor.page.get_by_role("button", name=re.compile("^Sure"))).to_have_count(0)


def test_a_webhook_is_added_tried_and_ended(server: Server, visit: Visit) -> None:
    server.key_of("hooked")
    visitor = visit("hooked")
    page = visitor.page
    visitor.go("/server")
    field = page.get_by_label("Address", exact=True)
    field.fill("https://127.0.0.1/hook")
    page.get_by_role("button", name="Tell it").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("private")
    assert (alert.get_attribute("id") or "none") in (field.get_attribute("aria-describedby") or "")
    target = "https://quire.invalid/hook"
    field.fill(target)
    page.get_by_label("also of each checkpoint").check()
    page.get_by_role("button", name="Tell it").click()
    page.get_by_role("button", name=f"Try {target}").click()
    row = page.get_by_role("listitem").filter(has_text=target)
    expect(row).to_contain_text("is being sent: ", timeout=PATIENCE_MILLISECONDS)
    expect(row).to_contain_text("all your trainings · also of each checkpoint")
    page.get_by_role("button", name=f"Delete {target}").click()
    page.get_by_role("button", name=f"Sure? {target}").click()
    expect(row).to_have_count(0)
    with server.client("hooked") as hooked:
        assert list(hooked.notifications()) == []
