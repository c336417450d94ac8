"""Who is bound to some models is told nothing of others: by no route of /openapi.json, and by no page.

Asked for what the other has, each answers, byte for byte, as if nobody had it; and changes nothing there.
A new route is walked too: a parameter or a body that this file does not know yet fails it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi.routing import APIRoute

from nearnorm.service.pages import routes
from nearnorm.service.scoring.long_bodies import INLINE_ROWS
from tests.contract.tenants import MINE, Belongings, Tenants, two_tenants
from tests.service.asking import RECORD
from tests.service.bundles import make_bundle

Sent = dict[str, Any]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    home = tmp_path_factory.mktemp("tenants")
    mine, theirs = (make_bundle(home / name, seed=seed) for name, seed in (("mine", 0), ("theirs", 1)))
    with two_tenants(home / "home", mine, theirs) as tenants:
        yield tenants


def in_path(name: str, path: str, of: Belongings) -> str:
    """What a path's parameter names. Raises KeyError for one that is new: say here whose it is."""
    known = {
        "feedback_id": of.feedback_id,
        "event_id": of.event_id,
        "version": of.version,
        "job_id": of.job_id,
        "webhook_id": of.webhook_id,
        "model_name": of.model,
        "model_version": of.version,
        "name": of.analyst,
    }
    return known[name]


def bodies(path: str, of: Belongings) -> list[Sent]:
    """What is sent to a route that reads a body: about what is theirs, by its model's name and by mine."""
    known: dict[str, list[Sent]] = {
        "/score": [{"model": of.model, "records": [RECORD] * rows} for rows in (1, INLINE_ROWS + 1)],
        "/v2/models/{model_name}/infer": [{"inputs": []}],
        "/v2/models/{model_name}/versions/{model_version}/infer": [{"inputs": []}],
        "/feedback": [
            {"model": of.model, "labels": [{"record": RECORD, "label": "normal"}]},
            {"model": MINE, "labels": [{"event_id": of.event_id, "label": "normal"}]},
            {"model": MINE, "labels": [{"event_id": of.reference_id, "label": "normal"}], "preview": True},
            {"model": MINE, "labels": [{"record_id": of.record_id, "label": "normal"}]},
            {"model": MINE, "labels": [{"retract": of.feedback_id}]},
        ],
        "/feedback/groups": [
            {"model": MINE, "event_ids": [of.event_id], "label": "normal"},
            {"model": MINE, "retract_group": of.group_id},
            {"model": of.model, "retract_group": of.group_id},
        ],
        "/claims": [{"model": of.model, "analyst": of.analyst}],
        "/claims/release": [
            {"model": of.model, "key": of.key, "analyst": of.analyst},
            {"model": MINE, "key": of.key, "analyst": of.analyst},
        ],
        "/claims/skip": [
            {"model": name, "event_id": of.event_id, "reason": "no"} for name in (MINE, of.model)
        ],
        "/snoozes": [
            {"model": name, "event_id": of.event_id, "seconds": 600, "reason": "no"}
            for name in (MINE, of.model)
        ],
        "/aggregates": [{"model": of.model, "records": [RECORD]}],
        "/policy": [{"model": of.model, "budget": "3%"}],
        "/policy/undo": [{"model": of.model}],
        "/jobs": [{"model": of.model}],
        "/models/{version}/activate": [{}, {"model": of.model}, {"model": MINE}],
        "/models/rollback": [{"model": of.model}],
        "/forget": [{"record_id": of.record_id}, {"event_id": of.event_id}, {"analyst": of.analyst}],
        "/analysts/{name}/quarantine": [{"why": "because"}],
        "/webhooks": [{"url": f"https://{of.host}:9/x", "kinds": ["model"], "format": "slack"}],
        "/webhooks/{webhook_id}/replay": [{}],
        "/session": [{"analyst": of.analyst}],
    }
    return known[path]


NOBODYS = {
    *(
        "limit",
        "explain",
        "everybody",
        "by",
        "days",
        "why",
        "audit",
        "anomaly",
        "status",
        "prototype",
        "state",
    ),
    *("since", "until", "min_percentile", "max_percentile", "feature", "equals", "at_least", "at_most"),
    *("prototype", "include_records", "shape", "format"),
}
"""Query parameters that name nothing of anybody's."""


def queries(operation: Sent, of: Belongings) -> list[Sent]:
    """None, all that is theirs, and each of it beside a model of mine."""
    known = {
        "model": of.model,
        "analyst": of.analyst,
        "id": of.record_id,
        "cursor": of.version,
    }
    named = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
    new = set(named) - known.keys() - NOBODYS
    assert not new, f"say here whose these name: {sorted(new)}"
    theirs = {name: known[name] for name in named if name in known}
    if "model" not in theirs:
        return [{}, *({name: value} for name, value in theirs.items())]
    beside = [{"model": MINE, name: value} for name, value in theirs.items() if name != "model"]
    return [{}, {"model": of.model}, {"model": MINE}, *beside]


def requests(document: Sent, of: Belongings) -> Iterator[tuple[str, str, Sent]]:
    """Every operation of the document with what is theirs put wherever something can be named."""
    for template, operations in document["paths"].items():
        for method, operation in operations.items():
            path = template
            for one in operation.get("parameters", ()):
                if one["in"] == "path":
                    path = path.replace(f"{{{one['name']}}}", in_path(one["name"], template, of))
            if "{event_id}" in template:
                row = template.replace("{event_id}", of.reference_id)
                yield method.upper(), row, {"params": {"model": MINE}}
            if "requestBody" in operation:
                for body in bodies(template, of):
                    yield method.upper(), path, {"json": body}
            else:
                for query in queries(operation, of):
                    yield method.upper(), path, {"params": query}


VARYING = ("/session", "/webhooks", "/metrics")
"""Answers that are never the same twice: of these it is asked alone that they tell nothing."""


@pytest.fixture(scope="module")
def document(tenants: Tenants) -> Sent:
    return tenants.told(tenants.all, "GET", "/openapi.json")


def state(tenants: Tenants) -> dict[str, Any]:
    """All that the other tenant sees of its own, without what time alone changes."""
    model = {"model": tenants.belongings.model}
    seen = {
        path: tenants.told(tenants.theirs, "GET", path, params=query)
        for path, query in (
            ("/queue", model | {"limit": 200}),
            ("/events", model),
            ("/feedback", model),
            ("/claims", model | {"everybody": True}),
            ("/snoozes", model),
            ("/jobs", {}),
            ("/models", {}),
            ("/webhooks", {}),
            ("/analysts", {}),
        )
    }
    seen["/policy"] = tenants.told(tenants.theirs, "GET", "/policy", params=model)["policy"]["version"]
    for webhook in seen["/webhooks"]["webhooks"]:
        webhook.pop("waiting")
    for claim in seen["/claims"]["claims"]:
        claim.pop("claimed_until")
    return seen


def test_the_other_has_all_that_is_looked_for(tenants: Tenants) -> None:
    """Without it nothing here could fail."""
    audit = tenants.asked(tenants.theirs, "GET", "/audit").text
    assert {"beta-reason-activate", tenants.belongings.analyst} <= set(_words(audit))
    seen = state(tenants)
    assert all(seen[path] for path in seen)
    text = repr(seen) + audit + tenants.asked(tenants.theirs, "GET", "/policy?model=beta-loans").text
    of = tenants.belongings
    reviewed = {"model": of.model, "analyst": of.analyst}
    text += tenants.asked(tenants.theirs, "GET", f"/events/{of.event_id}", params=reviewed).text
    assert not [value for value in _values(of) if value not in text + "beta-reason"]


def _words(text: str) -> list[str]:
    return text.replace('"', " ").replace(",", " ").split()


def _values(of: Belongings) -> list[str]:
    return [getattr(of, name) for name in of.__struct_fields__ if name != "group_id"]


def test_no_route_tells_a_byte_of_the_others_or_changes_anything_there(
    tenants: Tenants, document: Sent
) -> None:
    theirs, nobodys = tenants.belongings, tenants.belongings.absent()
    before = state(tenants)
    pairs = zip(requests(document, theirs), requests(document, nobodys), strict=True)
    differing, telling, asked = [], [], 0
    for (method, path, sent), (_, other_path, other_sent) in pairs:
        answer = tenants.asked(tenants.mine, method, path, **sent)
        nothing = tenants.asked(tenants.mine, method, other_path, **other_sent)
        tenants.client.cookies.clear()
        asked += 1
        where = f"{method} {path} {sent}"
        head = repr(dict(answer.headers))
        if told := theirs.told_in(answer.text + head, where):
            telling.append(f"{where}: {answer.status_code} tells {told}")
        if path.split("?")[0] not in VARYING and (
            (answer.status_code, theirs.blanked(answer.text))
            != (nothing.status_code, nobodys.blanked(nothing.text))
        ):
            answers = f"{answer.status_code} {answer.text}\n{nothing.status_code} {nothing.text}"
            differing.append(f"{where}: {answers}")
        if answer.status_code >= 500:
            differing.append(f"{where}: {answer.text}")
    assert telling == []
    assert differing == []
    assert asked > 90
    assert state(tenants) == before


def test_who_sends_no_key_is_told_of_no_model_and_who_sees_all_of_each(tenants: Tenants) -> None:
    of = tenants.belongings
    for path in ("/readyz", "/metrics", "/openapi.json", "/v2", "/v2/health/ready", "/healthz"):
        answer = tenants.asked(None, "GET", path)
        assert answer.status_code == 200, path
        assert of.told_in(answer.text, "") == [], path
        assert MINE not in answer.text
    assert tenants.asked(None, "GET", f"/v2/models/{of.model}/ready").status_code == 404
    assert "process_open_fds" in tenants.asked(None, "GET", "/metrics").text
    mine = tenants.asked(tenants.mine, "GET", "/metrics").text
    assert f'nearnorm_rows_total{{model="{MINE}"' in mine
    assert all(f'model="{MINE}"' in line for line in mine.splitlines() if not line.startswith("#"))
    both = tenants.asked(tenants.all, "GET", "/metrics").text
    assert f'model="{MINE}"' in both
    assert f'model="{of.model}"' in both
    names = {model["name"] for model in tenants.told(tenants.all, "GET", "/readyz")["models"]}
    assert names == {MINE, of.model}


def pages() -> Iterator[tuple[str, str]]:
    """Every page and every form."""
    for route in (one for view in routes.VIEWED for one in view.routes):
        assert isinstance(route, APIRoute)
        for method in route.methods or ():
            if not route.path.startswith(("/static", "/sign", "/verdict")):
                yield method, route.path


def fields(of: Belongings, model: str) -> Sent:
    """All that a page or a form may name."""
    return {
        "model": model,
        "held": model,
        "event": of.event_id,
        "event_id": of.event_id,
        "event_ids": of.event_id,
        "job": of.job_id,
        "version": of.version,
        "said": of.feedback_id,
        "group": of.group_id,
        "analyst": of.analyst,
        "name": of.analyst,
        "key": of.key,
        "kind": "analyst",
        "retract": of.feedback_id,
        "feedback_id": of.feedback_id,
        "id": of.record_id,
        "label": "normal",
        "reason": "because",
        "why": "because",
        "budget": "3%",
    }


def test_no_page_and_no_form_tells_of_the_others(tenants: Tenants) -> None:
    theirs = tenants.belongings
    before, shown = state(tenants), 0
    with httpx.Client(base_url=tenants.client.base_url, timeout=30) as browser:
        csrf = browser.post("/session", json={"key": tenants.mine, "analyst": "ann"}).json()["csrf"]
        landed = browser.get("/review", follow_redirects=True)
        assert landed.status_code == 200
        assert f"model={MINE}" in str(landed.url)
        for method, path in pages():
            for model in (MINE, theirs.model, None):
                sent = fields(theirs, model or MINE)
                if model is None:
                    del sent["model"]
                where = f"{method} {path} {sent}"
                if method == "GET":
                    answer = browser.get(path, params=sent if model else {}, follow_redirects=True)
                else:
                    body = urlencode(sent | {"csrf": csrf})
                    form = {"content-type": "application/x-www-form-urlencoded"}
                    answer = browser.post(path, content=body, headers=form)
                shown += answer.status_code == 200
                assert answer.status_code != 500, where
                assert theirs.told_in(answer.text + repr(dict(answer.headers)), where) == [], where
    assert shown > 5
    assert state(tenants) == before


def test_routes_come_to_a_model_by_its_caller_alone() -> None:
    """By the registry itself they would see every line."""
    rooms = [ROOT / "service" / room for room in ("api", "pages")]
    by_registry = re.compile(r"registry\.(get|first|loaded|bring|check|serving|lines)\(")
    found = {
        path.relative_to(ROOT / "service").as_posix()
        for room in rooms
        for path in room.rglob("*.py")
        if by_registry.search(path.read_text())
    }
    assert found == {
        "api/dependencies.py",
        "api/health.py",
        "api/models.py",
        "api/openapi/document.py",
        "api/review/feedback.py",  # by the lines that its key sees
        "pages/frame/site.py",  # of those, the names that the visitor sees
        "pages/frame/visitor.py",
    }
