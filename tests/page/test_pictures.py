"""Pictures of each view at three widths in both themes, for people to look at.

``PICTURES=docs/images make page ARGS='-k pictures'`` renews those of the README. Without the
variable they go to the test's own folder, and the test shows that they can be taken.
"""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from quire.watch.wait import wait_for_job
from tests.page.conftest import PATIENCE_MILLISECONDS, Server, Visit

BOOK = "nietzsche.txt"
#: Only these are kept in the repository.
KEPT = {
    *("job-1440-light", "teach-768-light", "write-1440-dark", "write-360-light"),
    *("compare-768-dark", "people-768-light"),
}
#: Views of admins, by the address below `/server`.
ADMINS = ("people", "groups", "audit")
SECONDS = 8.0
SECONDS_OF_KEPT = 60.0


@pytest.fixture(scope="session")
def jobs(server: Server, text_file: Path) -> list[str]:
    """A training worth looking at, and a smaller one beside it."""
    folder = os.environ.get("QUIRE_CORPUS_DIR")
    path = Path(folder) / BOOK if folder else text_file
    seconds = SECONDS_OF_KEPT if os.environ.get("PICTURES") else SECONDS
    with server.client("fritz") as fritz:
        corpus = fritz.upload_corpus(path.read_bytes(), name=path.stem)
        body = {"corpus": corpus.id, "name": "Nietzsche", "budget": {"seconds": seconds}}
        smaller = body | {"name": "Nietzsche, a small network", "units": 32, "embedding": 16}
        smaller["budget"] = {"seconds": seconds / 2}
        queued = [fritz.submit_training(each) for each in (smaller, body)]
        return [wait_for_job(fritz, each, watch=False).id for each in reversed(queued)]


@pytest.mark.parametrize("width", [360, 768, 1440])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures(visit: Visit, jobs: list[str], tmp_path: Path, width: int, theme: str) -> None:
    visitor = visit("fritz", width=width, color_scheme=theme)
    page = visitor.page

    def take(view: str, of: Page = page) -> None:
        name = f"{view}-{width}-{theme}"
        whole = view not in ("home", "watch", "teach")
        of.screenshot(path=tmp_path / f"{name}.png", full_page=whole)
        kept = os.environ.get("PICTURES")
        if kept and name in KEPT:
            (Path(kept) / f"{name}.png").write_bytes((tmp_path / f"{name}.png").read_bytes())

    for view in ("home", "watch", "library", "server"):
        visitor.go("/" if view == "home" else f"/{view}")
        page.wait_for_load_state("networkidle")
        take(view)
    visitor.go(f"/watch/{','.join(jobs)}")
    page.get_by_role("row").nth(2).wait_for()
    page.get_by_text("Training loss").first.click()
    take("compare")
    visitor.go(f"/watch/{jobs[0]}")
    page.get_by_role("article").first.wait_for()
    take("job")
    visitor.go("/teach")
    page.get_by_label("already").select_option(index=1)
    expect(page.get_by_text("Place in the line")).to_be_visible(timeout=PATIENCE_MILLISECONDS)
    take("teach")
    page.get_by_role("link", name="Write", exact=True).click()
    page.get_by_label("Beginning").fill("The noble soul ")
    page.get_by_label("Seed").fill("7")
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.get_by_role("button", name="Download")).to_have_count(
        3, timeout=PATIENCE_MILLISECONDS
    )
    page.locator(".text").nth(1).focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    take("write")
    admin = visit("admin", width=width, color_scheme=theme)
    for view in ADMINS:
        admin.go(f"/server/{view}")
        admin.page.wait_for_load_state("networkidle")
        take(view, admin.page)
    assert len(list(tmp_path.glob("*.png"))) == 11
