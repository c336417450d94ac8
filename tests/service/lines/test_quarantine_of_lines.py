"""Quarantine in one line alone: what somebody says of another one counts there as before."""

import httpx

from tests.service.asking import RECORD, problem
from tests.service.lines.test_two_lines import OTHER, asked, said, scored

MEI = "/analysts/mei/quarantine"
WHY = {"why": "her account was used"}


def statuses(client: httpx.Client) -> list[str]:
    """Of what was said in each line."""
    return [asked(client, "/feedback", line)["receipts"][0]["status"] for line in ("default", OTHER)]


def carried(client: httpx.Client) -> list[bool]:
    return ["matched_feedback" in scored(client, line, RECORD)[0] for line in ("default", OTHER)]


def test_who_is_in_quarantine_in_one_line_counts_in_the_other_and_is_released_where_it_held(
    client: httpx.Client,
) -> None:
    for line in ("default", OTHER):
        said(client, line, RECORD)
    changed = client.post(MEI, params={"model": OTHER}, json=WHY)
    assert changed.json() == {"kind": "analyst", "name": "mei", "records": 1}
    assert statuses(client) == ["waiting", "quarantined"]
    assert carried(client) == [True, False]
    (held,) = client.get("/analysts").json()["quarantine"]
    assert (held["name"], held["model"], held["why"]) == ("mei", OTHER, WHY["why"])
    problem(client.post(MEI, params={"model": OTHER}, json=WHY), 409, "conflict")

    assert client.post(MEI, json=WHY).json()["records"] == 2  # in every line, beside it
    assert statuses(client) == ["quarantined", "quarantined"]
    assert client.delete(MEI).json()["records"] == 2
    assert statuses(client) == ["waiting", "quarantined"]  # one ends without the other
    told = problem(client.delete(MEI), 404, "not-found")["detail"]
    assert "in every model" in told
    assert client.delete(MEI, params={"model": OTHER}).json()["records"] == 1
    assert statuses(client) == ["waiting", "waiting"]
    assert carried(client) == [True, True]


def test_what_is_said_of_a_record_in_the_meantime_is_silenced_in_that_line_alone(
    client: httpx.Client,
) -> None:
    said(client, OTHER, RECORD)
    client.post(MEI, params={"model": OTHER}, json=WHY)
    for line in ("default", OTHER):
        said(client, line, RECORD | {"amount": 7.0})
    assert statuses(client) == ["waiting", "quarantined"]


def test_a_quarantine_names_a_line_that_there_is_and_that_somebody_labelled_in(client: httpx.Client) -> None:
    said(client, "default", RECORD)
    problem(client.post(MEI, params={"model": "nobody"}, json=WHY), 404, "unknown-model")
    told = problem(client.post(MEI, params={"model": OTHER}, json=WHY), 404, "not-found")
    assert f"for model '{OTHER}'" in told["detail"]


def test_who_is_forgotten_stays_in_quarantine_in_that_line_by_another_name(client: httpx.Client) -> None:
    said(client, OTHER, RECORD)
    client.post(MEI, params={"model": OTHER}, json=WHY)
    assert client.post("/forget", json={"analyst": "mei"}).status_code == 200
    (held,) = client.get("/analysts").json()["quarantine"]
    assert held["name"].startswith("erased-")
    assert (held["model"], held["why"]) == (OTHER, "")
