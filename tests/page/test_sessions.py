"""Signing in and out of the page, and what of it stays in the browser."""

import re

from playwright.sync_api import expect

from quire.client import Client
from tests.page.conftest import PATIENCE_MILLISECONDS, Server, Taught, Visit


def test_a_link_signs_in_once_and_leaves_the_address(server: Server, visit: Visit) -> None:
    link = (server.home.data_dir / "sign-in.link").read_text().strip()
    first = visit()
    first.page.goto(link)
    expect(first.page.get_by_text("admin", exact=True)).to_be_visible()
    assert first.page.url == f"{server.url}/"
    second = visit()
    second.page.goto(link)
    expect(second.page.get_by_role("alert")).to_contain_text("used already")
    assert "#" not in second.page.url


def test_a_link_for_somebody_new_makes_a_key_and_signs_in(server: Server, visit: Visit) -> None:
    server.admin.create_user("nia", "member")
    link = server.admin.create_enrolment("nia").link or ""
    visitor = visit()
    page = visitor.page
    page.goto(link)
    make = page.get_by_role("button", name="Make my key and sign in")
    make.wait_for()
    assert page.url == f"{server.url}/enrol", "the token leaves the address"
    [enrolment] = server.admin.enrolments("nia")
    assert enrolment.state == "open", "opening a link redeems nothing"
    page.get_by_label("What the key is for").fill("a\tb")
    make.click()
    expect(page.get_by_role("alert")).to_contain_text("control characters")
    page.get_by_label("What the key is for").fill("the blue laptop")
    make.click()
    expect(page.get_by_role("heading", name="Welcome, nia")).to_be_visible()
    key = page.locator(".secret").inner_text()
    with Client(server.url, key) as nia:
        assert nia.me().name == "nia"
        assert [each.name for each in nia.keys("nia")] == ["the blue laptop"]
    page.get_by_role("link", name="Go on").click()
    expect(page.get_by_role("heading", name="Drop a text, watch")).to_be_visible()
    expect(page.get_by_text("nia", exact=True)).to_be_visible()
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "quire_" not in kept
    other = visit()
    other.page.goto(link)
    other.page.get_by_role("button", name="Make my key").click()
    expect(other.page.get_by_role("alert")).to_contain_text("was used at")


def test_a_wrong_key_is_refused_beside_its_field(server: Server, visit: Visit) -> None:
    page = visit().page
    page.goto(server.url)
    page.get_by_label("key").fill("quire_00000000_" + "0" * 64)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("unknown or revoked")
    described = page.get_by_label("key").get_attribute("aria-describedby") or ""
    assert page.get_by_role("alert").get_attribute("id") in described.split()


def test_a_key_is_kept_nowhere_and_drafts_outlive_a_reload(
    server: Server, visit: Visit, taught: Taught
) -> None:
    visitor = visit(taught.user)
    page = visitor.page
    visitor.go(f"/write/{taught.model}")
    page.get_by_label("Beginning").fill("The lazy ")
    page.reload()
    expect(page.get_by_label("Beginning")).to_have_value("The lazy ")
    kept = page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
    )
    assert "quire_" not in kept
    [cookie] = visitor.context.cookies(f"{server.url}/v1")
    assert cookie["httpOnly"] is True
    assert cookie["sameSite"] == "Strict"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.evaluate("Object.keys(sessionStorage).length") == 0
    assert visitor.context.cookies(f"{server.url}/v1") == []


def test_a_key_revoked_while_its_page_is_open_ends_the_page(
    server: Server, visit: Visit, taught: Taught
) -> None:
    key = server.admin.create_key(taught.user)
    visitor = visit()
    page = visitor.page
    visitor.go(f"/write/{taught.model}")
    page.get_by_label("key").fill(key.key or "")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Beginning").fill("The dog ")
    server.admin.revoke_key(key.prefix)
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("no longer signed in")
    page.get_by_label("key").fill(server.key_of(taught.user))
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Beginning")).to_have_value("The dog ")
    assert page.url.endswith(f"/write/{taught.model}"), "one goes on where one was"


def test_an_admin_adds_people_and_revokes_their_keys(server: Server, visit: Visit) -> None:
    visitor = visit("admin")
    page = visitor.page
    visitor.go("/server/people")
    page.get_by_label("Gets").select_option("key")
    page.get_by_label("Name of the person").fill("x y")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("not a valid user name")
    page.get_by_label("Name of the person").fill("zoe")
    page.get_by_role("button", name="Add").click()
    shown = page.locator(".secret")
    expect(shown).to_have_text(re.compile(r"^quire_[0-9a-z]{8}_[0-9a-f]{64}$"))
    key = shown.inner_text()
    other = visit()
    other.page.goto(server.url)
    other.page.get_by_label("key").fill(key)
    other.page.get_by_role("button", name="Sign in").click()
    expect(other.page.get_by_text("zoe", exact=True)).to_be_visible()
    page.get_by_role("button", name="Keys of zoe").click()
    prefix = key.split("_")[1]
    page.get_by_role("button", name=f"Revoke {prefix}").click()
    page.get_by_role("button", name=f"Sure? {prefix}").click()
    expect(page.get_by_text("revoked")).to_be_visible(timeout=PATIENCE_MILLISECONDS)
    other.page.get_by_role("link", name="Teach").click()
    expect(other.page.get_by_role("alert")).to_contain_text("no longer signed in")
