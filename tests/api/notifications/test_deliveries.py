"""Messages are sent until they are taken or given up, once, and never where they must not go."""

from datetime import timedelta

from api.services import EXTENSION
from shared.notifications.courier import CLAIM, RETRY_SECONDS, Courier
from tests.api.harness import ApiHarness, Person
from tests.api.notifications.conftest import Later, courier, end
from tests.services.webhooks import Receiver, receiving


def test_a_try_is_repeated_until_it_is_taken(
    harness: ApiHarness, ann: Person, receiver: Receiver, later: Later
) -> None:
    receiver.statuses = [500, 429, 200]
    end(harness, job := ann.train(ann.upload(), notify=[{"url": receiver.url}]))
    sender = courier(harness, later, retry_seconds=(60, 600))
    assert sender.send_due() == 1
    assert sender.send_due() == 0, "its time has not come"
    [waiting] = ann.items(f"/v1/jobs/{job['id']}/deliveries")
    assert waiting["status"] == "pending"
    assert waiting["tries"][0]["error"] == "answered 500"
    for seconds in (70, 700):
        later.by += timedelta(seconds=seconds)
        assert sender.send_due() == 1
    [done] = ann.items(f"/v1/jobs/{job['id']}/deliveries")
    assert done["status"] == "delivered"
    assert [each["status_code"] for each in done["tries"]] == [500, 429, 200]
    ids = {each.headers["webhook-id"] for each in receiver.received}
    assert ids == {done["message_id"]}
    assert len({each.body for each in receiver.received}) == 1


def test_a_message_is_given_up_after_its_tries(
    harness: ApiHarness, ann: Person, receiver: Receiver, later: Later
) -> None:
    receiver.statuses = [503]
    end(harness, job := ann.train(ann.upload(), notify=[{"url": receiver.url}]))
    sender = courier(harness, later, retry_seconds=(0, 0))
    while sender.send_due():
        pass
    [given_up] = ann.items(f"/v1/jobs/{job['id']}/deliveries")
    assert (given_up["status"], len(given_up["tries"])) == ("failed", 3)
    assert timedelta(days=2) < timedelta(seconds=sum(RETRY_SECONDS)) < timedelta(days=4)


def test_a_courier_that_dies_loses_nothing(
    harness: ApiHarness, ann: Person, receiver: Receiver, later: Later
) -> None:
    end(harness, job := ann.train(ann.upload(), notify=[{"url": receiver.url}]))
    dying = courier(harness, later)
    assert len(dying._claim()) == 1  # and here its process ends
    others = courier(harness, later)
    assert others.send_due() == 0, "the try may still be under way"
    later.by += CLAIM + timedelta(seconds=1)
    assert others.send_due() == 1
    [done] = ann.items(f"/v1/jobs/{job['id']}/deliveries")
    assert (done["status"], [each["number"] for each in done["tries"]]) == ("delivered", [2])


def test_two_couriers_send_a_message_once(
    harness: ApiHarness, ann: Person, receiver: Receiver, later: Later
) -> None:
    for _ in range(3):
        end(harness, ann.train(ann.upload(), notify=[{"url": receiver.url}]))
    first, second = courier(harness, later), courier(harness, later)
    while first.send_due() + second.send_due():
        pass
    assert len({each.headers["webhook-id"] for each in receiver.received}) == 3
    assert len(receiver.received) == 3


def test_a_late_courier_does_not_overwrite_what_another_has_done(
    harness: ApiHarness, ann: Person, receiver: Receiver, later: Later
) -> None:
    end(harness, job := ann.train(ann.upload(), notify=[{"url": receiver.url}]))
    slow, other = courier(harness, later), courier(harness, later)
    [due] = slow._claim()
    later.by += CLAIM + timedelta(seconds=1)
    assert other.send_due() == 1
    receiver.statuses = [500]
    slow._deliver(due)
    [done] = ann.items(f"/v1/jobs/{job['id']}/deliveries")
    assert (done["status"], len(done["tries"])) == ("delivered", 1)


def test_a_redirect_is_not_followed(
    harness: ApiHarness, ann: Person, receiver: Receiver, later: Later
) -> None:
    with receiving() as other:
        receiver.statuses, receiver.location = [307], other.url
        sent = ann.post("/v1/notifications/test", {"url": receiver.url}).json
        courier(harness, later).send_due()
        assert other.received == []
    [tried] = ann.get(f"/v1/deliveries/{sent['id']}").json["tries"]
    assert (tried["status_code"], tried["error"]) == (
        307,
        "answered 307: redirects are not followed",
    )


def test_a_name_that_leads_to_this_machine_gets_nothing(
    harness: ApiHarness, ann: Person, receiver: Receiver, later: Later
) -> None:
    port = receiver.url.split(":")[2].split("/")[0]
    sent = ann.post("/v1/notifications/test", {"url": f"https://localhost:{port}/"}).json
    settings = harness.app.extensions[EXTENSION].settings.model_copy(update={"webhook_allow": ""})
    Courier(harness.engine, settings.address_policy, None, clock=later).send_due()
    done = ann.get(f"/v1/deliveries/{sent['id']}").json
    assert done["status"] == "failed"
    assert "private" in done["tries"][0]["error"]
    assert receiver.received == []


def test_an_address_that_is_gone_is_told_no_more(
    harness: ApiHarness, ann: Person, receiver: Receiver, later: Later
) -> None:
    receiver.statuses = [410]
    ann.post("/v1/notifications", {"url": receiver.url})
    model = harness.model(ann)
    courier(harness, later).send_due()
    [done] = ann.items(f"/v1/jobs/{model['job']}/deliveries")
    assert done["status"] == "failed"
    assert ann.items("/v1/notifications") == []


def test_a_user_who_is_disabled_is_told_nothing(
    harness: ApiHarness, ann: Person, admin: Person, receiver: Receiver, later: Later
) -> None:
    ann.post("/v1/notifications/test", {"url": receiver.url})
    assert admin.patch("/v1/users/ann", {"disabled": True}).status_code == 200
    assert courier(harness, later).send_due() == 0
    assert receiver.received == []


def test_a_slow_address_holds_up_nobody_else(
    harness: ApiHarness, ann: Person, bob: Person, receiver: Receiver, later: Later
) -> None:
    with receiving() as slow:
        slow.hold.clear()
        for _ in range(3):
            ann.post("/v1/notifications/test", {"url": slow.url})
        sent = bob.post("/v1/notifications/test", {"url": receiver.url}).json
        sender = courier(harness, later)
        # One of ann's is tried beside bob's, and her others wait for it.
        due = sender._claim()
        assert len({each.user_id for each in due}) == len(due) == 2
        sender._deliver(next(each for each in due if each.target == receiver.url))
        assert bob.get(f"/v1/deliveries/{sent['id']}").json["status"] == "delivered"
