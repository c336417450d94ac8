"""Webhooks by the HTTP interface: what is told of a running service, and who may set it up."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.service.alerts.ocsf_schema import mistakes
from tests.service.asking import RECORD, STRANGE, label, problem, score, stored
from tests.service.running import home_with, serving
from tests.service.waiting import logged, until
from tests.service.webhooks.receiver import Received, Receiver, receiving

PUBLIC = "https://desk.example.com"
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
FORM = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[httpx.Client]:
    """One that tells machines of this host too."""
    home = home_with(tmp_path_factory.mktemp("home"), bundle)
    settings = Settings(home=home, audit_rate=1.0, webhook_hosts="127.0.0.1", public_url=PUBLIC)
    with serving(create_app(settings)) as client:
        yield client


@pytest.fixture(autouse=True)
def _none_is_left(client: httpx.Client) -> Iterator[None]:
    yield
    until(lambda: logged(client))  # or the next test's webhook would be told of it
    for webhook in client.get("/webhooks").json()["webhooks"]:
        client.delete(f"/webhooks/{webhook['webhook_id']}").raise_for_status()


def make(client: httpx.Client, receiver: Receiver, *kinds: str, **more: Any) -> dict[str, Any]:
    """A new webhook; what it is sent goes to a path of its own."""
    url = f"{receiver.url}/{len(receiver.received)}"
    answer = client.post("/webhooks", json={"url": url, "kinds": list(kinds), **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def sent(receiver: Receiver, webhook: dict[str, Any], count: int = 1) -> list[Received]:
    """What the webhook was sent, once there is so much of it."""

    def mine() -> list[Received]:
        return [one for one in receiver.received if webhook["url"].endswith(one.path)]

    until(lambda: len(mine()) >= count)
    return mine()


def test_an_alert_is_told_signed_without_its_record(client: httpx.Client, receiver: Receiver) -> None:
    webhook = make(client, receiver, "alert")
    score(client, RECORD, "usual")
    found = score(client, STRANGE, "odd")
    (message,) = sent(receiver, webhook)
    body = message.verified(webhook["secret"])
    assert body["type"] == "alert.raised"
    (alert,) = body["data"]["alerts"]
    assert alert.pop("reasons")[0] == "amount"
    assert alert.pop("at") <= body["timestamp"]
    assert alert == {
        "event_id": found["event_id"],
        "id": "odd",
        "model": "default",
        "score": pytest.approx(found["score"], abs=1e-3),
        "percentile": pytest.approx(found["percentile"], abs=0.01),
        "model_version": client.get("/readyz").json()["models"][0]["version"],
    }
    deliveries = client.get(f"/webhooks/{webhook['webhook_id']}/deliveries").json()["deliveries"]
    assert deliveries[0]["message_id"] == message.message_id


def test_records_are_told_where_they_were_asked_for(client: httpx.Client, receiver: Receiver) -> None:
    webhook = make(client, receiver, "alert", include_records=True)
    score(client, STRANGE, "odd")
    (alert,) = sent(receiver, webhook)[0].json["data"]["alerts"]
    assert alert["record"]["amount"] == 900.0


def test_jobs_quarantine_and_activations_are_told_in_order_by_subject(
    client: httpx.Client, receiver: Receiver
) -> None:
    webhook = make(client, receiver, "job", "quarantine", "model")
    job_id = client.post("/jobs").json()["job_id"]
    client.delete(f"/jobs/{job_id}").raise_for_status()
    stored(label(client, {"record": STRANGE, "label": "anomaly", "analyst": "ann"}))
    client.post("/analysts/ann/quarantine", json={"why": "a test"}).raise_for_status()
    client.delete("/analysts/ann/quarantine").raise_for_status()
    version = client.get("/readyz").json()["models"][0]["version"]
    client.post(f"/models/{version}/activate", json={"reason": "again"}).raise_for_status()
    told = [message.verified(webhook["secret"]) for message in sent(receiver, webhook, 5)]
    types = [body["type"] for body in told]
    assert sorted(types) == [
        *("job.cancelled", "job.queued", "model.activated", "quarantine.began", "quarantine.ended")
    ]
    assert types.index("job.queued") < types.index("job.cancelled")
    assert types.index("quarantine.began") < types.index("quarantine.ended")
    of_type = {body["type"]: body["data"] for body in told}
    assert of_type["job.queued"]["job_id"] == job_id
    assert of_type["quarantine.began"] == {"labeller": "analyst", "name": "ann", "by": "anonymous"}
    assert (of_type["model.activated"]["version"], of_type["model.activated"]["reason"]) == (version, "again")


def test_a_receiver_of_slack_and_one_of_pagerduty_are_told_in_their_shapes(
    client: httpx.Client, receiver: Receiver
) -> None:
    slack = make(client, receiver, "alert", format="slack")
    receiver.received.append(Received("/", {}, b""))  # another path for the next
    pagerduty = make(client, receiver, "alert", format="pagerduty", routing_key=ROUTING_KEY)
    score(client, STRANGE, "odd")
    assert sent(receiver, slack)[0].json["text"].startswith("1 alert of model default")
    event = sent(receiver, pagerduty)[0].json
    assert (event["routing_key"], event["event_action"]) == (ROUTING_KEY, "trigger")
    assert "amount" in str(event["payload"]["custom_details"]["alerts"][0]["reasons"])
    assert ROUTING_KEY not in client.get("/webhooks").text
    for hidden in (slack["secret"], pagerduty["secret"]):
        assert hidden not in client.get("/webhooks").text + client.get("/audit").text


def test_a_receiver_of_ocsf_is_told_findings_with_values_only_where_they_were_asked_for(
    client: httpx.Client, receiver: Receiver
) -> None:
    bare = make(client, receiver, "alert", format="ocsf", analyst="oncall")
    receiver.received.append(Received("/", {}, b""))  # another path for the next
    whole = make(client, receiver, "alert", format="ocsf", include_records=True)
    event_id = score(client, STRANGE, "odd")["event_id"]
    (told,) = sent(receiver, bare)[0].verified(bare["secret"])
    (full,) = sent(receiver, whole)[0].verified(whole["secret"])
    assert (mistakes(told), mistakes(full)) == ([], [])
    assert told["finding_info"]["uid"] == full["finding_info"]["uid"] == event_id
    assert told["finding_info"]["src_url"].startswith(PUBLIC + "/verdict?token=")
    assert "src_url" not in full["finding_info"]
    for one in (told, full):
        analysis = one["anomaly_analyses"][0]
        assert "amount" in [anomaly["observation_parameter"] for anomaly in analysis["anomalies"]]
    assert "900" in str(full["anomaly_analyses"])
    assert full["evidences"][0]["data"]["amount"] == 900.0
    assert "evidences" not in told
    assert "900" not in str(told["anomaly_analyses"])


def test_a_test_of_an_ocsf_webhook_is_a_finding_that_is_no_alert(
    client: httpx.Client, receiver: Receiver
) -> None:
    webhook = make(client, receiver, "alert", format="ocsf")
    client.post(f"/webhooks/{webhook['webhook_id']}/test").raise_for_status()
    (told,) = sent(receiver, webhook)[0].verified(webhook["secret"])
    assert mistakes(told) == []
    assert (told["is_alert"], told["severity"]) == (False, "Informational")


def test_a_test_says_what_the_receiver_answered(client: httpx.Client, receiver: Receiver) -> None:
    webhook = make(client, receiver, "alert")
    answer = client.post(f"/webhooks/{webhook['webhook_id']}/test").json()
    assert answer == {"webhook_id": webhook["webhook_id"], "delivered": True, "status": 200}
    assert sent(receiver, webhook)[0].verified(webhook["secret"])["type"] == "test.sent"
    with receiving(Receiver(answer=lambda _: (404, {}), text=b"no such hook")) as other:
        webhook = make(client, other, "alert")
        answer = client.post(f"/webhooks/{webhook['webhook_id']}/test").json()
    assert (answer["delivered"], answer["problem"]) == (False, "it answered 404: no such hook")


def test_a_new_secret_signs_at_once_and_the_old_one_too(client: httpx.Client, receiver: Receiver) -> None:
    webhook = make(client, receiver, "alert")
    renewed = client.post(f"/webhooks/{webhook['webhook_id']}/secret").json()
    client.post(f"/webhooks/{webhook['webhook_id']}/test").raise_for_status()
    (message,) = sent(receiver, webhook)
    for secret in (webhook["secret"], renewed["secret"]):
        assert message.verified(secret)
    (listed,) = client.get("/webhooks").json()["webhooks"]
    assert listed["old_secret_until"] == renewed["old_secret_until"]


def test_a_drift_is_told_when_it_begins(client: httpx.Client, receiver: Receiver) -> None:
    webhook = make(client, receiver, "drift")
    rows = 3_000
    columns = {name: [value] * rows for name, value in (RECORD | {"country": "FR"}).items()}
    client.post("/score", json={"columns": columns}).raise_for_status()
    told = [message.json for message in sent(receiver, webhook)]
    assert {body["type"] for body in told} == {"drift.began"}
    assert {"model", "model_version", "signal", "psi", "since"} == told[0]["data"].keys()
    drifting = {f["name"] for f in client.get("/drift").json()["features"] if "drifted_since" in f}
    until(lambda: drifting <= {message.json["data"]["signal"] for message in sent(receiver, webhook)})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "http://hooks.example.com/x", "kinds": ["job"]}, "url"),
        ({"url": "https://10.0.0.1/x", "kinds": ["job"]}, "url"),
        ({"url": "https://hooks.example.com/x", "kinds": []}, "kinds"),
        ({"url": "https://hooks.example.com/x", "kinds": ["jobs"]}, "kinds"),
        ({"url": "https://hooks.example.com/x", "kinds": ["job"], "format": "teams"}, "format"),
        ({"url": "https://hooks.example.com/x", "kinds": ["job"], "format": "pagerduty"}, "routing_key"),
        ({"url": "https://hooks.example.com/x", "kinds": ["job", "alert"], "format": "ocsf"}, "kinds"),
        ({"url": "https://hooks.example.com/x", "kinds": ["job"], "routing_key": ROUTING_KEY}, "routing_key"),
        ({"url": "https://hooks.example.com/x", "kinds": ["job"], "analyst": "\u200b"}, "analyst"),
        ({"url": "https://hooks.example.com/x", "kinds": ["job"], "description": "a\nb"}, "description"),
    ],
)
def test_what_cannot_be_a_webhook_is_refused_by_its_field(
    client: httpx.Client, body: dict[str, Any], field: str
) -> None:
    found = problem(client.post("/webhooks", json=body), 422, "invalid-request")
    assert field in (found.get("field") or found["detail"])
    assert client.get("/webhooks").json() == {"webhooks": []}


def test_a_second_webhook_to_the_same_place_is_a_mistake(client: httpx.Client, receiver: Receiver) -> None:
    webhook = make(client, receiver, "alert")
    again = client.post("/webhooks", json={"url": webhook["url"], "kinds": ["job"]})
    problem(again, 409, "conflict")


def test_links_need_an_address_of_this_service(tmp_path: Path, bundle: Bundle) -> None:
    home = home_with(tmp_path / "home", bundle)
    with serving(create_app(Settings(home=home))) as client:
        body = {"url": "https://hooks.example.com/x", "kinds": ["alert"], "analyst": "ann"}
        found = problem(client.post("/webhooks", json=body), 422, "invalid-request")
        assert "NEARNORM_PUBLIC_URL" in found["detail"]


def test_the_trail_tells_who_made_tried_and_ended_a_webhook(client: httpx.Client, receiver: Receiver) -> None:
    webhook = make(client, receiver, "alert")
    path = f"/webhooks/{webhook['webhook_id']}"
    for act in ("test", "secret", "replay"):
        client.post(f"{path}/{act}", json={} if act == "replay" else None).raise_for_status()
    assert client.delete(path).json() == {"webhook_id": webhook["webhook_id"], "undelivered": 0}
    entries = client.get("/audit?limit=5").json()["audit"]
    assert [entry["action"] for entry in entries] == [
        *("webhook.delete", "webhook.replay", "webhook.secret", "webhook.test", "webhook.create")
    ]
    assert {entry["subject"] for entry in entries} == {webhook["webhook_id"]}
    assert webhook["url"] not in str(entries), "the path of an address may be its password"
    problem(client.get(f"{path}/deliveries"), 404, "not-found")


def link_of(client: httpx.Client, receiver: Receiver, name: str, **more: Any) -> tuple[str, str]:
    """A new alert's link, as a path of this service, and its event."""
    webhook = make(client, receiver, "alert", analyst=name, **more)
    found = score(client, STRANGE, "odd")
    (alert,) = sent(receiver, webhook)[0].json["data"]["alerts"]
    assert alert["link"].startswith(f"{PUBLIC}/verdict?token=")
    return alert["link"].removeprefix(PUBLIC), found["event_id"]


def test_a_link_stores_one_verdict_in_the_name_it_was_sent_to_and_looking_stores_none(
    client: httpx.Client, receiver: Receiver
) -> None:
    link, event_id = link_of(client, receiver, "link-ann")
    for method in ("GET", "HEAD", "GET"):
        assert client.request(method, link).status_code == 200
    page = client.get(link).text
    assert "link-ann" in page
    assert "900" not in page, "records only where they were asked for"
    assert client.get("/feedback?analyst=link-ann").json()["receipts"] == []
    form = {"token": link.partition("=")[2], "label": "normal", "comment": "mine"}
    for verdict in ("normal", "anomaly", "normal"):
        answer = client.post("/verdict", data=form | {"label": verdict}, headers=FORM)
        assert (answer.status_code, answer.headers["location"]) == (303, link)
    (receipt,) = client.get("/feedback?analyst=link-ann").json()["receipts"]
    assert (receipt["event_id"], receipt["label"], receipt["analyst"]) == (event_id, "normal", "link-ann")
    assert "A verdict was stored by this link: normal" in client.get(link).text
    client.delete(f"/webhooks/{client.get('/webhooks').json()['webhooks'][0]['webhook_id']}")
    until(lambda: client.get(link).status_code == 404)


def test_a_link_that_was_changed_or_is_used_from_elsewhere_stores_nothing(
    client: httpx.Client, receiver: Receiver
) -> None:
    link, _ = link_of(client, receiver, "link-bob", include_records=True)
    token = link.partition("=")[2]
    assert "900" in client.get(link).text
    webhook_id, event_id, until_ms, mac = token.split(".")
    other = score(client, STRANGE, "another")["event_id"]
    forged = [
        *(f"{webhook_id}.{other}.{until_ms}.{mac}", f"{webhook_id}.{event_id}.{int(until_ms) + 1}.{mac}"),
        *(f"{other}.{event_id}.{until_ms}.{mac}", token[:-1], token + "A", "", "\x00", "a" * 5_000),
    ]
    for bad in forged:
        assert client.get("/verdict", params={"token": bad}).status_code == 404
        answer = client.post("/verdict", data={"token": bad, "label": "normal"}, headers=FORM)
        assert answer.status_code in (404, 422), bad
    form = {"token": token, "label": "normal"}
    for headers in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert client.post("/verdict", data=form, headers=headers).status_code == 403
    for bad_form in ({"token": token}, {"token": token, "label": "maybe"}):
        assert client.post("/verdict", data=bad_form, headers=FORM).status_code == 422
    assert client.get("/feedback?analyst=link-bob").json()["receipts"] == []


def test_an_erased_record_goes_from_messages_and_links(client: httpx.Client, receiver: Receiver) -> None:
    link, _ = link_of(client, receiver, "link-eve")
    with receiving(Receiver(answer=lambda _: (500, {}))) as failing:
        webhook = make(client, failing, "alert", include_records=True)
        score(client, STRANGE | {"amount": 901.0}, "person")
        assert sent(failing, webhook)[0].json["data"]["alerts"][0]["record"]["amount"] == 901.0
        client.post("/forget", json={"record_id": "person"}).raise_for_status()
        failing.received.clear()
        (alert,) = sent(failing, webhook)[0].json["data"]["alerts"]
        assert not {"id", "record", "reasons", "link"} & alert.keys()
    client.post("/forget", json={"record_id": "odd"}).raise_for_status()
    assert client.get(link).status_code == 404
