"""What a verdict will do, in words: under the buttons of a record, and before a group is judged."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from fastapi import Request, Response

from nearnorm.service.api.review.feedback import previewed
from nearnorm.service.feedback.submission.request import read
from nearnorm.service.pages.frame.routing import pages
from nearnorm.service.pages.frame.site import page
from nearnorm.service.pages.frame.visitor import Reviewer, Visitor

router = pages()

_LABELS = ("anomaly", "normal")


@router.get("/review/effects")
async def get_effects(request: Request, visitor: Reviewer, event: str, model: str = "default") -> Response:
    """A page of its own, for who has no script."""
    found = await _of_both(request, visitor, event, model)
    back = f"/review?{urlencode({'model': model, 'event': event})}"
    return await page(request, "effects.html", model=model, event_id=event, effects=found, back=back)


@router.get("/review/effects/part")
async def get_part(request: Request, visitor: Reviewer, event: str, model: str = "default") -> Response:
    """The words alone, for the card that a script shows."""
    found = await _of_both(request, visitor, event, model)
    return await page(request, "parts/effects.html", effects=found)


async def _of_both(request: Request, visitor: Visitor, event: str, model: str) -> dict[str, list[str]]:
    return dict(
        zip(
            _LABELS,
            await asyncio.gather(*(_of(request, visitor, event, model, label) for label in _LABELS)),
            strict=True,
        )
    )


async def _of(request: Request, visitor: Visitor, event: str, model: str, label: str) -> list[str]:
    """As POST /feedback with `preview`."""
    body = {"model": model, "labels": [{"event_id": event, "label": label}], "preview": True}
    return in_words(await previewed(request, read(msgspec.json.encode(body), visitor.caller, None)))


def in_words(effects: Mapping[str, Any]) -> list[str]:
    """Of a preview, what is worth saying: a phrase each."""
    return [*_of_records(effects), *_of_alerts(effects), _of_training(effects)]


def _of_records(effects: Mapping[str, Any]) -> list[str]:
    one, found = effects["records"] == 1, []
    if held := len(effects["held"]):
        found.append("another analyst has it now" if one else f"{held:,} with other analysts now")
    if judged := len(effects["judged"]):
        found.append("it was judged before" if one else f"{judged:,} judged before")
    equal = effects["equal"]
    if equal["events"] > effects["records"]:
        found.append(f"{equal['events']:,} equal events of the last week, {equal['alerts']:,} of them alerts")
    return found


def _of_alerts(effects: Mapping[str, Any]) -> list[str]:
    alerts = effects["alerts"]
    found = [
        f"{_many(count, 'row')} {goes} the reference"
        for name, goes in (("leave", "out of"), ("back", "back into"))
        if (count := effects["reference"][name])
    ]
    if alerts is None:
        return [*found, "the threshold is solved anew within a minute"]
    changes = [
        f"{alerts[name]:,} {name} alerts in a week like the last, which had {alerts['raised']:,}"
        for name in ("more", "fewer")
        if alerts[name]
    ]
    return [*found, *(changes or ["no other alert changes"])]


def _of_training(effects: Mapping[str, Any]) -> str:
    left = effects["retraining"]["left"]
    until = f"{_many(left, 'more verdict')} until a retraining" if left else "a retraining starts"
    waiting = len(effects["second_opinion"])
    if not waiting:
        return until
    one = effects["records"] == 1
    who = "contradicts the model and trains" if one else f"{waiting:,} contradict the model and train"
    return f"{who} nothing until somebody says the same; {until}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
