"""OpenAPI links: which answer names what another request asks for."""

from typing import Any

_LABEL = {"label": "anomaly"}

# from (route, method, status) to (route, method), by parameters or by a body of the answer's values
_LINKS: tuple[tuple[tuple[str, str, str], tuple[str, str], dict[str, Any]], ...] = (
    (
        ("/score", "post", "200"),
        ("/feedback", "post"),
        {"requestBody": {"labels": [{**_LABEL, "event_id": "{$response.body#/results/0/event_id}"}]}},
    ),
    (
        ("/queue", "get", "200"),
        ("/feedback", "post"),
        {"requestBody": {"labels": [{**_LABEL, "event_id": "{$response.body#/queue/0/event_id}"}]}},
    ),
    (
        ("/claims", "post", "200"),
        ("/feedback", "post"),
        {"requestBody": {"labels": [{**_LABEL, "event_id": "{$response.body#/claims/0/event_id}"}]}},
    ),
    (
        ("/claims", "post", "200"),
        ("/claims/release", "post"),
        {"requestBody": {"event_ids": ["{$response.body#/claims/0/event_id}"]}},
    ),
    (
        ("/feedback", "post", "201"),
        ("/feedback/{feedback_id}", "get"),
        {"parameters": {"feedback_id": "$response.body#/receipts/0/feedback_id"}},
    ),
    (
        ("/feedback", "post", "201"),
        ("/feedback", "post"),
        {"requestBody": {"labels": [{"retract": "{$response.body#/receipts/0/feedback_id}"}]}},
    ),
    *(
        ((path, method, status), (target, act), {"parameters": {"job_id": f"$response.body#/{where}"}})
        for path, method, status, where in (
            ("/jobs", "post", "202", "job_id"),
            ("/jobs", "get", "200", "jobs/0/job_id"),
        )
        for target, act in (
            ("/jobs/{job_id}", "get"),
            ("/jobs/{job_id}", "delete"),
            ("/jobs/{job_id}/flips", "get"),
        )
    ),
    *(
        (
            ("/models", "get", "200"),
            target,
            {"parameters": {"version": "$response.body#/models/0/version"}},
        )
        for target in (("/models/{version}", "get"), ("/models/{version}/activate", "post"))
    ),
    *(
        ((path, "get", "200"), (path, "get"), {"parameters": {"cursor": "$response.body#/next"}})
        for path in ("/models", "/jobs", "/queue", "/feedback", "/audit", "/analysts", "/alerts")
    ),
)


def link(paths: dict[str, Any]) -> None:
    """Add the links to the document's paths."""
    for (path, method, status), (target, act), values in _LINKS:
        operation = paths[target][act]["operationId"]
        links = paths[path][method]["responses"][status].setdefault("links", {})
        links[f"{operation}{len(links) or ''}"] = {"operationId": operation, **values}
