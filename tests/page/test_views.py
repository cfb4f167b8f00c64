"""Views for everybody: by keyboard, in Chinese, narrow and wide, and with hostile content."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import PATIENCE_MILLISECONDS, Server, Taught, Visit, Visitor

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
MOST_TABS = 40
#: What the API lets into a name, and a page could mistake for markup or be torn by.
HOSTILE_NAME = '"><img src=x onerror=alert(1)><script>alert(2)</script>' + "W" * 140
HOSTILE_TEXT = (
    "</script><script>alert(3)</script> {{7*7}} \u202eright to left\u202c " + "x" * 10_000
)
FIRST_VIEW_SECONDS = 5.0
NARROW = 360


def paths(taught: Taught) -> list[str]:
    return [
        "/",
        "/teach",
        "/watch",
        f"/watch/{taught.job}",
        f"/watch/{taught.job},{taught.other_job}",
        f"/write/{taught.model}",
        "/server",
        "/library",
        "/server/groups",
    ]


#: What admins see besides.
ADMINS = ["/server", "/server/groups", "/server/people", "/server/audit"]


def settle(page: Page) -> None:
    """Wait until the view has read what it shows."""
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_load_state("networkidle")


def tab_to(page: Page, selector: str) -> None:
    """Press the tab key until an element has the focus."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("(s) => document.activeElement.matches(s)", selector):
            return
    raise AssertionError(f"the tab key does not reach {selector}")


def test_the_main_way_by_keyboard_alone(server: Server, visit: Visit, taught: Taught) -> None:
    visitor = visit()
    page = visitor.page
    page.goto(server.url)
    page.get_by_label("key").wait_for()
    tab_to(page, "input[type=password]")
    page.keyboard.insert_text(server.key_of(taught.user))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").wait_for()

    tab_to(page, "a[href='/teach']")
    page.keyboard.press("Enter")
    heading = page.get_by_role("heading", level=1, name="Teach a network")
    expect(heading).to_be_focused()
    page.get_by_label("already").wait_for()
    tab_to(page, "select")
    page.keyboard.type("fox")
    tab_to(page, "input[type=radio]")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("radio", name=re.compile("A quick look"))).to_be_checked()
    expect(page.get_by_text("Place in the line")).to_be_visible(timeout=PATIENCE_MILLISECONDS)
    tab_to(page, "button.main")
    page.keyboard.press("Enter")
    page.wait_for_url("**/watch/*")
    page.get_by_role("button", name="Cancel").wait_for()
    tab_to(page, ".actions button:nth-of-type(2)")
    page.keyboard.press("Enter")
    expect(page.locator(".status")).to_have_text("cancelled", timeout=PATIENCE_MILLISECONDS)

    tab_to(page, "a[href='/write']")
    page.keyboard.press("Enter")
    page.get_by_label("Beginning").wait_for()
    tab_to(page, "textarea")
    page.keyboard.insert_text("The ")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("button", name="Download")).to_have_count(
        3, timeout=PATIENCE_MILLISECONDS
    )


def test_in_chinese(visit: Visit, server: Server, taught: Taught) -> None:
    visitor = visit(locale="zh-CN")
    page = visitor.page
    page.goto(server.url)
    page.get_by_label("您的密钥").fill(server.key_of(taught.user))
    page.get_by_role("button", name="登录").click()
    expect(page.get_by_role("link", name="训练", exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    for path in paths(taught):
        visitor.go(path)
        settle(page)
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("link", name="Teach", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("link", name="Teach", exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("width", [NARROW, 768, 1440])
def test_no_view_is_wider_than_the_window(visit: Visit, taught: Taught, width: int) -> None:
    visitor = visit(taught.user, width=width, height=740)
    for path in paths(taught):
        visitor.go(path)
        settle(visitor.page)
        if path == "/teach":
            visitor.page.get_by_text("Every number").click()
            visitor.page.get_by_label("units", exact=True).wait_for()
        assert wide(visitor) <= width, path
    if width > NARROW:
        return
    admin = visit("admin", width=width, height=740)
    for path in ADMINS:
        admin.go(path)
        settle(admin.page)
        open_all(admin.page)
        assert wide(admin) <= width, path


def open_all(page: Page) -> None:
    """Open what is closed, so that it is seen as well."""
    for name in ("Use and caps of admin", "Manage class"):
        for button in page.get_by_role("button", name=name, exact=True).all():
            button.click()
    for summary in page.locator("summary").all():
        summary.click()
    page.wait_for_load_state("networkidle")


def wide(visitor: Visitor) -> int:
    return int(visitor.page.evaluate("document.documentElement.scrollWidth"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(server: Server, visit: Visit, taught: Taught, theme: str) -> None:
    if not AXE.exists():
        pytest.skip("no axe-core: run `make page`, which installs web/node_modules")
    visitor = visit(color_scheme=theme)
    page = visitor.page
    visitor.go("/")
    page.get_by_label("key").wait_for()
    assert violations(page) == []
    visitor.sign_in(taught.user)
    for path in paths(taught):
        visitor.go(path)
        settle(page)
        open_all(page)
        if path == "/teach":
            page.get_by_label("already").select_option(taught.corpus)
        page.wait_for_load_state("networkidle")
        assert violations(page) == [], path
    with server.client(taught.user) as ann:
        visitor.page.goto(ann.share(job=taught.job).url or "")
    page.get_by_role("article").first.wait_for()
    assert violations(page) == [], "/shared"
    admin = visit("admin", color_scheme=theme)
    for path in ADMINS:
        admin.go(path)
        settle(admin.page)
        open_all(admin.page)
        assert violations(admin.page) == [], path


def violations(page: Page) -> list[str]:
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run().then((result) => result.violations)")
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


def test_hostile_names_and_texts_stay_text(server: Server, visit: Visit, taught: Taught) -> None:
    with server.client("mallory") as mallory:
        corpus = mallory.upload_corpus((HOSTILE_TEXT * 3).encode(), name=HOSTILE_NAME)
        body = {"corpus": corpus.id, "name": HOSTILE_NAME, "units": 8, "window": 16, "epochs": 1}
        job = mallory.submit_training(body)
    visitor = visit("mallory", width=360, height=740)
    page = visitor.page
    page.on("dialog", lambda dialog: visitor.complaints.append(dialog.message))
    for path in ("/", "/watch", f"/watch/{job.id}", "/teach", "/server"):
        visitor.go(path)
        settle(page)
        assert wide(visitor) <= 360, path
    page.get_by_role("link", name="Watch", exact=True).click()
    expect(page.get_by_text(HOSTILE_NAME)).to_be_visible()
    visitor.go("/teach")
    page.get_by_label("or paste a text").fill(HOSTILE_TEXT)
    expect(page.locator("blockquote")).to_contain_text("<script>", timeout=PATIENCE_MILLISECONDS)
    assert wide(visitor) <= 360


def test_errors_are_the_apis_own_beside_their_field(visit: Visit, taught: Taught) -> None:
    visitor = visit(taught.user)
    page = visitor.page
    visitor.go(f"/write/{taught.model}")
    for label, value, words in (
        ("Length", "many", "integer"),
        ("Length", "1000000", "100000"),
        ("Beginning", "日本", "vocabulary"),
    ):
        field = page.get_by_label(label)
        before = field.input_value()
        field.fill(value)
        page.get_by_role("button", name="Write", exact=True).click()
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text(words)
        assert (alert.get_attribute("id") or "none") in (
            field.get_attribute("aria-describedby") or ""
        )
        field.fill(before)
    visitor.go("/teach")
    page.get_by_label("already").select_option(taught.corpus)
    page.get_by_text("Every number").click()
    page.get_by_label("units", exact=True).fill("5")
    expect(page.get_by_role("alert")).to_contain_text("8", timeout=PATIENCE_MILLISECONDS)
    expect(page.get_by_role("button", name="Start the training")).to_be_disabled()
    page.get_by_label("units", exact=True).fill("16")
    expect(page.get_by_role("button", name="Start the training")).to_be_enabled()


def test_a_text_that_is_not_utf_8_is_explained_and_read_after_all(
    visit: Visit, tmp_path: Path
) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(("Größe und Maß, für dich und für mich. " * 200).encode("cp1252"))
    visitor = visit("linguist")
    page = visitor.page
    visitor.go("/teach")
    page.get_by_label("Drop one or several files").set_input_files(path)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("encoding=cp125", timeout=PATIENCE_MILLISECONDS)
    page.get_by_label("Encoding", exact=True).fill("cp1252")
    expect(page.locator("blockquote")).to_contain_text("Größe", timeout=PATIENCE_MILLISECONDS)
    expect(alert).to_have_count(0)


def test_the_first_view_comes_soon(server: Server, visit: Visit) -> None:
    page = visit().page
    page.goto(server.url)
    page.get_by_label("key").wait_for(timeout=FIRST_VIEW_SECONDS * 1000)
