"""A real `quire up` with a real worker, and a real browser, shared by the tests of the page."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from quire.client import Client
from quire.errors import QuireError
from quire.watch.wait import wait_for_job
from tests.e2e.home import Home, Up

#: How long a real worker may take for a small training, on a machine that is busy.
PATIENCE_MILLISECONDS = 60_000.0
TINY_NUMBERS = {"units": 16, "embedding": 8, "window": 16, "epochs": 2}
#: So large that it knows its sentence by heart, whatever the seed.
LEARNED = TINY_NUMBERS | {"units": 64}
#: Reports what the policy refused as an error of the console, which fails the test.
REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
});
"""
#: Chromium's own note that a response was an error; the page shows it.
REFUSED = "Failed to load resource: the server responded with a status of"


@dataclass
class Server:
    """A running server, and how to reach it."""

    home: Home
    up: Up
    url: str
    admin: Client
    keys: dict[str, str] = field(default_factory=dict)

    def key_of(self, name: str) -> str:
        """Return the key of a user, who is made if there is none of that name."""
        if name not in self.keys:
            self.admin.create_user(name, "member")
            self.keys[name] = self.admin.create_key(name).key or ""
        return self.keys[name]

    def client(self, name: str) -> Client:
        return Client(self.url, self.key_of(name))


@pytest.fixture(scope="session")
def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium: apt install chromium")
        pytest.skip("no chromium: apt install chromium")
    return path


@pytest.fixture(scope="session")
def server(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = Home(tmp_path_factory.mktemp("page"))
    with home.up() as up:
        url = f"http://127.0.0.1:{home.port}"
        key = (home.data_dir / "admin.key").read_text().strip()
        with Client(url, key) as admin:
            yield Server(home, up, url, admin, {"admin": key})


@pytest.fixture(autouse=True)
def no_training_goes_on(server: Server) -> Iterator[None]:
    """Cancel what a test has left running, or a failed one would slow all that follow."""
    yield
    for name in list(server.keys):
        # The key of a test about keys may be revoked.
        with suppress(QuireError), server.client(name) as client:
            for job in list(client.jobs(status="running")):
                client.cancel_job(job.id)


@pytest.fixture(scope="session")
def playwright(chromium: str) -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    # Root has no sandbox of Chromium's; the pages are ours.
    running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    yield running
    running.close()


@dataclass(frozen=True)
class Taught:
    """What a user has taught before the tests begin."""

    user: str
    corpus: str
    model: str
    job: str
    other_model: str
    other_job: str


@pytest.fixture(scope="session")
def taught(server: Server, text_file: Path) -> Taught:
    """Two models that can write, and their owner, who is in the group `class`."""
    with server.client("ann") as ann:
        corpus = ann.upload_corpus(text_file.read_bytes(), name="fox")
        found: list[str] = []
        for name, epochs in (("reynard", TINY_NUMBERS["epochs"]), ("renart", 1)):
            body = {"corpus": corpus.id, "name": name, **LEARNED, "epochs": epochs}
            job = wait_for_job(ann, ann.submit_training(body), watch=False)
            assert job.status == "succeeded", job
            found += [job.model or "", job.id]
    server.admin.create_group("class")
    server.admin.add_member("class", "ann")
    return Taught("ann", corpus.id, *found)


@dataclass
class Visitor:
    """A browser of one person: its page, and what the console said against it."""

    server: Server
    context: BrowserContext
    page: Page
    complaints: list[str]

    def sign_in(self, name: str) -> None:
        """Sign in with the key of a user, as a person would."""
        self.page.goto(self.server.url)
        self.page.get_by_label("key").fill(self.server.key_of(name))
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("button", name="Sign out").wait_for()

    def go(self, path: str) -> None:
        self.page.goto(f"{self.server.url}{path}")


Visit = Callable[..., Visitor]


@pytest.fixture
def visit(server: Server, browser: Browser) -> Iterator[Visit]:
    """Open browsers; what their consoles complain of fails the test."""
    visitors: list[Visitor] = []

    def open_browser(
        name: str | None = None, width: int = 1280, height: int = 900, **options: object
    ) -> Visitor:
        options = {"locale": "en-GB", "reduced_motion": "reduce"} | options
        context = browser.new_context(viewport={"width": width, "height": height}, **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        context.add_init_script(REPORT_VIOLATIONS)
        page = context.new_page()
        visitor = Visitor(server, context, page, [])
        page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                visitor.complaints.append(message.text)
                if message.type in ("error", "warning") and not message.text.startswith(REFUSED)
                else None
            ),
        )
        visitors.append(visitor)
        if name is not None:
            visitor.sign_in(name)
        return visitor

    yield open_browser
    for visitor in visitors:
        visitor.context.close()
    assert [visitor.complaints for visitor in visitors] == [[] for _ in visitors]


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "fox.txt"
    path.write_text(
        "The quick brown fox jumps over the lazy dog, and the dog does not mind. " * 400
    )
    return path
