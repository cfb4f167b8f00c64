"""The main way through the page: drop a text, see the estimate, train, watch, write, cancel."""

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.page.conftest import PATIENCE_MILLISECONDS, Visit, Visitor

SMALL = {"units": "16", "embedding": "8", "window": "16", "epochs": "3"}


def drop_text(visitor: Visitor, path: Path) -> None:
    """Give the page a file, and keep the text."""
    page = visitor.page
    visitor.go("/teach")
    page.get_by_label("Drop one or several files").set_input_files(path)
    expect(page.locator(".found")).to_contain_text(
        "28,800 characters", timeout=PATIENCE_MILLISECONDS
    )
    page.get_by_role("button", name="Keep this text").click()


def start_training(visitor: Visitor, name: str, **numbers: str) -> None:
    """Set numbers of the preset, wait for the estimate, and start the training."""
    page = visitor.page
    page.get_by_text("Every number").click()
    page.get_by_label("Name of the model").fill(name)
    for field, value in (SMALL | numbers).items():
        page.get_by_label(field, exact=True).fill(value)
    expect(page.get_by_text("Place in the line")).to_be_visible(timeout=PATIENCE_MILLISECONDS)
    page.get_by_role("button", name="Start the training").click()
    page.wait_for_url("**/watch/*")


def write(visitor: Visitor, seed: str, length: str = "120") -> list[str]:
    """Write at three temperatures and return the texts."""
    page = visitor.page
    page.get_by_label("Length").fill(length)
    page.get_by_label("Seed").fill(seed)
    with page.expect_response("**/v1/generate") as answer:
        page.get_by_role("button", name=re.compile("^(Write|Again)$")).click()
    result = page.locator(f"[data-job='{answer.value.json()['id']}']")
    expect(result.get_by_role("button", name="Download")).to_have_count(
        3, timeout=PATIENCE_MILLISECONDS
    )
    return result.locator(".text").all_inner_texts()


def test_from_a_file_to_three_texts(visit: Visit, text_file: Path) -> None:
    visitor = visit("newcomer")
    page = visitor.page
    expect(page.get_by_text("No model yet.")).to_be_visible()

    drop_text(visitor, text_file)
    start_training(visitor, "reynard")
    chart = page.get_by_role("img")
    expect(chart).to_have_attribute(
        "data-points", re.compile(r"^[1-9]"), timeout=PATIENCE_MILLISECONDS
    )
    expect(page.locator(".status")).to_have_text("done", timeout=PATIENCE_MILLISECONDS)
    expect(page.get_by_role("article")).to_have_count(4)
    slider = page.get_by_role("slider")
    newest = page.get_by_role("article").first.inner_text()
    slider.fill("0")
    assert page.get_by_role("article").first.inner_text() != newest
    assert "after epoch 1" in (slider.get_attribute("aria-valuetext") or "")

    page.get_by_role("link", name="Write with it").click()
    page.get_by_label("Beginning").fill("The quick ")
    first = write(visitor, "7")
    assert [len(text) for text in first] == [10 + 120] * 3
    # A network that knows the sentence by heart writes it at both low temperatures.
    assert len(set(first)) > 1
    assert write(visitor, "8") != first
    assert write(visitor, "7") == first, "the same seed gives the same texts"


def test_a_training_is_cancelled_paused_and_resumed(visit: Visit, text_file: Path) -> None:
    visitor = visit("newcomer")
    page = visitor.page
    drop_text(visitor, text_file)
    endless = {"epochs": "10000", "patience": "null", "learning rate": "0.0001"}
    start_training(visitor, "endless", **endless)
    expect(page.get_by_role("img")).to_be_visible(timeout=PATIENCE_MILLISECONDS)
    title = re.compile(r"^\d+ % · endless")
    expect(page).to_have_title(title, timeout=PATIENCE_MILLISECONDS)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".status")).to_have_text("paused", timeout=PATIENCE_MILLISECONDS)
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".status")).to_have_text("runs", timeout=PATIENCE_MILLISECONDS)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".status")).to_have_text("cancelled", timeout=PATIENCE_MILLISECONDS)
    expect(page).to_have_title("endless · Quire")
