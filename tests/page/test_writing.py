"""Two models side by side, going on from a place, and lists of items."""

import re
from pathlib import Path

from playwright.sync_api import expect

from quire.watch.wait import wait_for_job
from tests.page.conftest import PATIENCE_MILLISECONDS, TINY_NUMBERS, Server, Taught, Visit

BEGINNING = "The quick "
NAMES = "anna\nbert\nclara\ndora\nemil\nfritz\ngreta\nhanna\n" * 40


def test_two_models_write_side_by_side(server: Server, visit: Visit, taught: Taught) -> None:
    visitor = visit(taught.user)
    page = visitor.page
    visitor.go(f"/write/{taught.model}")
    page.get_by_label("Beginning").fill(BEGINNING)
    page.get_by_label("Length").fill("40")
    page.get_by_label("Beside it").select_option(label="renart")
    page.get_by_role("button", name="Write", exact=True).click()
    download = page.get_by_role("button", name="Download")
    expect(download).to_have_count(6, timeout=PATIENCE_MILLISECONDS)
    assert page.get_by_role("region", name="reynard").locator(".text").count() == 3
    with server.client(taught.user) as ann:
        first, second = list(ann.jobs())[:2]
    assert first.spec["seed"] == second.spec["seed"]
    assert {first.model, second.model} == {taught.model, taught.other_model}
    page.reload()
    expect(download).to_have_count(6, timeout=PATIENCE_MILLISECONDS)


def test_one_goes_on_from_any_place_in_a_text(visit: Visit, taught: Taught) -> None:
    visitor = visit(taught.user)
    page = visitor.page
    visitor.go(f"/write/{taught.model}")
    page.get_by_label("Beginning").fill(BEGINNING)
    page.get_by_label("Length").fill("60")
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.get_by_role("button", name="Download")).to_have_count(
        3, timeout=PATIENCE_MILLISECONDS
    )
    text = page.locator(".text").first
    whole = text.inner_text()
    # With the keyboard: the third character that was written.
    text.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    go_on = page.get_by_role("button", name="Go on from here")
    go_on.press("Enter")
    field = page.get_by_label("Beginning")
    expect(field).to_have_value(whole[: len(BEGINNING) + 3])
    expect(field).to_be_focused()
    # With the pointer: the character that is under it.
    field.fill("")
    box = page.evaluate(
        "() => { const node = document.querySelector('.text > span:last-child').firstChild;"
        "node.parentElement.scrollIntoView({ block: 'center' });"
        "const range = document.createRange();"
        "const leaf = node.firstChild ?? node; range.setStart(leaf, 2); range.setEnd(leaf, 3);"
        "const box = range.getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; }"
    )
    page.mouse.click(box[0] + box[2] * 0.7, box[1] + box[3] / 2)
    go_on.click()
    expect(field).to_have_value(whole[: len(BEGINNING) + 3])


def test_a_list_is_recognized_taught_and_written(
    server: Server, visit: Visit, tmp_path: Path
) -> None:
    path = tmp_path / "names.txt"
    path.write_text(NAMES)
    visitor = visit("lister")
    page = visitor.page
    visitor.go("/teach")
    page.get_by_label("Drop one or several files").set_input_files(path)
    page.get_by_role("button", name="items=lines").click()
    expect(page.locator(".found")).to_contain_text("320 items", timeout=PATIENCE_MILLISECONDS)
    page.get_by_role("button", name="Keep this text").click()
    expect(page.get_by_role("button", name="Keep this text")).to_have_count(0)
    expect(page.get_by_text("320 items, 4 characters in the middle")).to_be_visible()
    with server.client("lister") as lister:
        [corpus] = lister.corpora()
        body = {"corpus": corpus.id, "name": "names", **TINY_NUMBERS, "epochs": 4}
        model = wait_for_job(lister, lister.submit_training(body), watch=False).model
    visitor.go(f"/write/{model}")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Texts of each temperature").fill("20")
    page.get_by_label("Only what is new").check()
    page.get_by_label("The nearest of what it learned").check()
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.get_by_text("60 of 60 texts")).to_be_visible(timeout=PATIENCE_MILLISECONDS)
    rows = page.locator(".result li")
    expect(rows).to_have_count(60)
    expect(rows.filter(has_text="ended by itself").first).to_be_visible()
    new = rows.filter(has_text=re.compile(r"· new · .*nearest: \w+ \(changes: [1-9]"))
    assert new.count() > 0
    expect(rows.filter(has_text="one of the items it learned")).to_have_count(0)
    expect(page.locator(".result").get_by_role("status").last).to_contain_text("thrown away")


def test_a_character_tells_how_likely_it_was(visit: Visit, taught: Taught) -> None:
    visitor = visit(taught.user)
    page = visitor.page
    visitor.go(f"/write/{taught.model}")
    page.get_by_label("Beginning").fill(BEGINNING)
    page.get_by_label("Length").fill("80")
    with page.expect_request("**/v1/generate") as request:
        page.get_by_role("button", name="Write", exact=True).click()
    assert '"top_logprobs":5' in (request.value.post_data or "")
    expect(page.get_by_role("button", name="Download")).to_have_count(
        3, timeout=PATIENCE_MILLISECONDS
    )
    text = page.locator(".text").first
    text.focus()
    page.keyboard.press("ArrowRight")
    looked = page.locator(".looked")
    expect(looked).to_contain_text(re.compile(r"It was [\d.]+ % likely"))
    bars = looked.get_by_role("listitem")
    expect(bars).to_have_count(5)
    written = text.inner_text()[len(BEGINNING)]
    # Low as the temperature is, the likeliest was chosen.
    expect(bars.first).to_contain_text(written)
    page.keyboard.press("Escape")
    expect(looked).to_have_count(0)
    text.hover()
    expect(looked).to_be_visible()
    expect(page.locator(".copied").first).to_be_visible()
    # Without the wish nothing is asked for.
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Keep how likely").uncheck()
    with page.expect_request("**/v1/generate") as request:
        page.get_by_role("button", name="Again").click()
    assert "top_logprobs" not in (request.value.post_data or "top_logprobs")


def test_a_temperature_slides_over_one_distribution(visit: Visit, taught: Taught) -> None:
    visitor = visit(taught.user)
    page = visitor.page
    visitor.go(f"/write/{taught.model}")
    page.get_by_label("Beginning").fill("The quick")
    page.get_by_text("What comes after the beginning").click()
    page.get_by_role("button", name="Show the probabilities").click()
    bars = page.locator(".next").get_by_role("listitem")
    expect(bars).to_have_count(12, timeout=PATIENCE_MILLISECONDS)
    likeliest = "() => document.querySelector('.next progress').value"
    slider = page.get_by_role("slider")
    values = []
    for place in ("0", "5", "10", "15"):
        slider.fill(place)
        values.append(page.evaluate(likeliest))
    assert values[0] == 1
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[0]
    assert slider.get_attribute("aria-valuetext") == "Temperature 3"
    page.get_by_label("Beginning").fill("日本")
    page.get_by_role("button", name="Show the probabilities").click()
    expect(page.get_by_role("alert")).to_contain_text("vocabulary")
