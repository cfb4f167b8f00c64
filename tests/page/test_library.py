"""What one has: deleted and restored, kept with a note, shared by a link."""

import re
from pathlib import Path

from playwright.sync_api import expect

from quire.watch.wait import wait_for_job
from tests.page.conftest import PATIENCE_MILLISECONDS, TINY_NUMBERS, Server, Taught, Visit

ENDLESS = TINY_NUMBERS | {"epochs": 10_000, "patience": None, "learning_rate": 1e-4}
NOTE = "For the <b>wall</b>"


def test_what_was_deleted_is_had_back_or_gone_for_good(server: Server, visit: Visit) -> None:
    with server.client("keeper") as keeper:
        for name in ("letters", "tunes"):
            keeper.upload_corpus(b"Dear all, here are some letters. " * 20, name=name)
        visitor = visit("keeper")
        page = visitor.page
        page.get_by_role("link", name="Library").click()
        for name in ("letters", "tunes"):
            page.get_by_role("button", name=f"Delete {name}").click()
            page.get_by_role("button", name=f"Sure? {name}").click()
            expect(page.get_by_role("button", name=f"Restore {name}")).to_be_visible()
        assert list(keeper.corpora()) == []
        page.get_by_role("button", name="Restore letters").click()
        expect(page.get_by_role("button", name="Delete letters")).to_be_visible()
        page.get_by_role("button", name="Delete for good tunes").click()
        page.get_by_role("button", name="Sure? tunes").click()
        expect(page.get_by_role("heading", name="Deleted")).to_have_count(0)
        assert [each.name for each in keeper.corpora()] == ["letters"]
        assert list(keeper.corpora(deleted=True)) == []


def test_a_text_is_renamed_and_shared_with_a_group(
    server: Server, visit: Visit, taught: Taught
) -> None:
    with server.client(taught.user) as ann:
        letters = ann.upload_corpus(b"Dear all, here are some letters. " * 20, name="letters")
        visitor = visit(taught.user)
        page = visitor.page
        visitor.go("/library")
        page.get_by_role("button", name="About letters").click()
        page.get_by_label("Name", exact=True).last.fill("post")
        page.get_by_label("Who sees it").select_option("the group class")
        page.get_by_label("Models of it may show excerpts").check()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Saved.")).to_be_visible()
        expect(page.get_by_role("listitem").filter(has_text="post")).to_contain_text(
            "the group class"
        )
        found = ann.corpus(letters.id)
        assert (found.name, found.visibility, found.group) == ("post", "group", "class")
        assert found.allow_excerpts
        page.get_by_label("Who sees it").select_option("only me")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Saved.")).to_be_visible()
        assert ann.corpus(letters.id).visibility == "private"
        ann.delete_corpus(letters.id, purge=True)


def test_a_text_is_kept_with_a_note(server: Server, visit: Visit, taught: Taught) -> None:
    visitor = visit(taught.user)
    page = visitor.page
    visitor.go(f"/watch/{taught.job}")
    first = page.get_by_role("article").first
    first.get_by_role("button", name="Keep").click()
    first.get_by_label("Note").fill(NOTE)
    first.get_by_role("button", name="Keep").click()
    expect(first.get_by_text(NOTE)).to_be_visible()
    visitor.go("/library")
    kept = page.get_by_role("article").filter(has_text=NOTE)
    expect(kept).to_have_count(1)
    kept.get_by_role("button", name="Kept").click()
    kept.get_by_role("button", name="Keep no longer").click()
    expect(kept).to_have_count(0)
    with server.client(taught.user) as ann:
        assert list(ann.texts(kept=True)) == []


def test_a_model_is_taken_along_and_brought_back(
    visit: Visit, taught: Taught, tmp_path: Path
) -> None:
    visitor = visit(taught.user)
    page = visitor.page
    visitor.go("/library")
    page.get_by_role("button", name="About reynard").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export reynard").click()
    whole = tmp_path / download.value.suggested_filename
    assert whole.name == "reynard.safetensors"
    download.value.save_as(whole)
    page.get_by_text("Import a model").click()
    field = page.get_by_label("File", exact=True)
    half = tmp_path / "half.safetensors"
    half.write_bytes(whole.read_bytes()[:500])
    field.set_input_files(half)
    bring = page.get_by_role("button", name="Import", exact=True)
    bring.click()
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert (alert.get_attribute("id") or "none") in (field.get_attribute("aria-describedby") or "")
    field.set_input_files(whole)
    page.get_by_label("Name", exact=True).last.fill("brought back")
    bring.click()
    page.get_by_role("button", name="About brought back").click()
    expect(page.get_by_text("It was imported")).to_be_visible()
    expect(page.locator(".opened").get_by_text(taught.model)).to_be_visible()
    page.get_by_role("button", name="Delete brought back").click()
    page.get_by_role("button", name="Sure? brought back").click()
    expect(page.get_by_role("button", name="About brought back")).to_have_count(0)


def test_a_training_is_shown_to_whoever_has_its_link(
    server: Server, visit: Visit, taught: Taught
) -> None:
    with server.client(taught.user) as ann:
        job = ann.submit_training({"corpus": taught.corpus, "name": "on the wall", **ENDLESS})
        visitor = visit(taught.user)
        page = visitor.page
        visitor.go(f"/watch/{job.id}")
        page.get_by_role("img").wait_for()
        page.get_by_role("button", name="Share a link").first.click()
        link = page.locator(".secret").inner_text()
        stranger = visit()
        stranger.page.goto(link)
        expect(stranger.page.get_by_role("heading", name="on the wall")).to_be_visible()
        points = "Number(document.querySelector('[role=img]')?.dataset.points)"
        stranger.page.get_by_role("img").wait_for()
        before = stranger.page.evaluate(points)
        stranger.page.wait_for_function(f"() => {points} > {before}", timeout=PATIENCE_MILLISECONDS)
        for name in ("Pause", "Cancel", "Keep", "Share a link"):
            expect(stranger.page.get_by_role("button", name=name)).to_have_count(0)
        ann.pause_job(job.id)
        # A pause is a mark on the curve of whoever has the link, too.
        mark = stranger.page.locator(".marks").get_by_text(re.compile(r"Step [\d,]+: paused"))
        expect(mark).to_be_visible(timeout=PATIENCE_MILLISECONDS)
        ann.cancel_job(job.id)
        wait_for_job(ann, job, watch=False)
        expect(stranger.page.locator(".status")).to_have_text(
            "cancelled", timeout=PATIENCE_MILLISECONDS
        )
        visitor.go("/library")
        page.get_by_role("button", name=f"Revoke {job.id}").click()
        page.get_by_role("button", name=f"Sure? {job.id}").click()
        expect(page.get_by_role("button", name=f"Revoke {job.id}")).to_have_count(0)
        stranger.page.reload()
        expect(stranger.page.get_by_role("alert")).to_contain_text("link")


def test_a_text_is_shown_to_whoever_has_its_link(visit: Visit, taught: Taught) -> None:
    visitor = visit(taught.user)
    page = visitor.page
    visitor.go(f"/watch/{taught.job}")
    article = page.get_by_role("article").first
    text = article.locator(".text").inner_text()
    article.get_by_role("button", name="Share a link").click()
    link = article.locator(".secret").inner_text()
    assert re.search(r"/shared#quire_share_[\w-]+$", link)
    stranger = visit(width=360, height=740)
    stranger.page.goto(link)
    expect(stranger.page.locator(".text")).to_have_text(text, use_inner_text=True)
    expect(stranger.page.get_by_role("button", name="Keep")).to_have_count(0)
