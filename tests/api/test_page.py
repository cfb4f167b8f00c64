"""The page as the API serves it: its addresses, policy and caching; and what the bundle holds."""

import gzip
import json
import re
from pathlib import Path

import pytest

from api.http.page import ASSETS, STATIC
from tests.api.harness import ApiHarness, problem

ROOT = Path(__file__).parents[2]
VIEWS = (
    *("/", "/sign-in", "/shared", "/library", "/teach", "/watch", "/watch/x", "/watch/x,y"),
    *("/write", "/write/x", "/server", "/server/people"),
)
#: What a first visit loads, compressed.
MOST_BYTES = 120_000
#: The only addresses that the bundle may name: of namespaces, which nobody asks.
NAMESPACES = re.compile(rb"http://www\.w3\.org/(2000/svg|1999/xhtml|1998/Math/MathML|1999/xlink)")


@pytest.mark.parametrize("path", VIEWS)
def test_every_view_has_the_page_under_a_strict_policy(harness: ApiHarness, path: str) -> None:
    response = harness.app.test_client().get(path, headers={"Accept": "text/html"})
    assert response.status_code == 200
    assert response.mimetype == "text/html"
    assert response.headers["Cache-Control"] == "no-cache"
    policy = response.headers["Content-Security-Policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert "unsafe" not in str(policy)
    assert not re.search(rb"<script>|<style|style=|onload=", response.data)
    again = harness.app.test_client().get(path, headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_assets_are_cached_for_long_by_their_hashed_names(harness: ApiHarness) -> None:
    index = (STATIC / "index.html").read_text()
    named = re.findall(r'(?:src|href)="(/assets/[^"]+)"', index)
    assert {Path(name).name for name in named} == {path.name for path in ASSETS.iterdir()}
    for name in named:
        assert re.search(r"-[A-Za-z0-9_-]{8}\.(js|css|svg)$", name)
        response = harness.app.test_client().get(name)
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        response.close()


@pytest.mark.parametrize(
    "path", ["/assets/none.js", "/assets/..%2f..%2fapp.py", "/teach/x", "/watch/x/y", "/index.html"]
)
def test_what_is_no_view_does_not_exist(harness: ApiHarness, path: str) -> None:
    problem(harness.app.test_client().get(path), 404)


def test_a_first_visit_loads_little_and_from_here_alone() -> None:
    files = [STATIC / "index.html", *ASSETS.iterdir()]
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in files) <= MOST_BYTES
    for path in files:
        rest = NAMESPACES.sub(b"", path.read_bytes())
        assert not re.findall(rb"https?://[\w./-]+|\beval\(|new Function\(", rest), path.name


def test_the_lock_of_the_pages_packages_names_no_registry() -> None:
    lock = json.loads((ROOT / "web" / "package-lock.json").read_text())
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert packages
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert package["integrity"].startswith("sha512-"), name
    options = (ROOT / "web" / ".npmrc").read_text().split()
    assert "omit-lockfile-registry-resolved=true" in options


def test_every_language_has_every_message() -> None:
    messages = {
        path.stem: set(re.findall(r"^  (\w+):", path.read_text(), re.MULTILINE))
        for path in (ROOT / "web" / "src" / "i18n").glob("??.ts")
    }
    assert set(messages) == {"en", "zh"}
    assert messages["en"] == messages["zh"]
