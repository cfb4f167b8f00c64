"""Mails about jobs."""

import pytest

from api.services import EXTENSION
from tests.api.harness import ApiHarness, Person, problem
from tests.api.notifications.conftest import Later, courier, end
from tests.services.webhooks import MailBox


def test_a_mail_tells_the_same(
    harness: ApiHarness, ann: Person, box: MailBox, later: Later
) -> None:
    to = {"mail": "ann@lab.example"}
    job = ann.train(ann.upload(), notify=[to], name="Grüße «ñ»")
    end(harness, job)
    ann.post("/v1/notifications/test", to)
    sender = courier(harness, later)
    while sender.send_due():
        pass
    [(first, text), (second, trial)] = box.mails
    assert (first, second) == ("ann@lab.example", "ann@lab.example")
    assert "From: quire@lab.example" in text
    assert "Auto-Submitted: auto-generated" in text
    assert job["id"] in text
    assert "Subject: Quire: a test" in trial
    assert ann.items(f"/v1/jobs/{job['id']}/deliveries")[0]["tries"][0]["status_code"] == 250


@pytest.mark.parametrize(
    ("answer", "status"), [("450 later", "pending"), ("550 no such box", "failed")]
)
def test_a_mail_that_is_refused_for_ever_is_given_up(
    harness: ApiHarness, ann: Person, box: MailBox, later: Later, answer: str, status: str
) -> None:
    box.refuse = answer
    sent = ann.post("/v1/notifications/test", {"mail": "ann@lab.example"}).json
    courier(harness, later).send_due()
    done = ann.get(f"/v1/deliveries/{sent['id']}").json
    assert done["status"] == status
    assert answer[:3] in done["tries"][0]["error"]


def test_a_server_without_mail_says_so(harness: ApiHarness, ann: Person) -> None:
    services = harness.app.extensions[EXTENSION]
    without = services.settings.model_copy(update={"smtp_url": None})
    object.__setattr__(services, "settings", without)
    refused = problem(ann.post("/v1/notifications/test", {"mail": "ann@lab.example"}), 422)
    assert "QUIRE_SMTP_URL" in refused["errors"][0]["message"]
