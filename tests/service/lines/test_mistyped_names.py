"""Commands about a model that nothing serves under its name: told which there are, and nothing is done."""

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from tests.service.asking import problem
from tests.service.commands import Command

ASKED = [("replay", "VERSION"), ("retrain",), ("models", "rollback")]


@pytest.mark.parametrize("asked", ASKED)
def test_a_command_about_a_model_that_is_not_there_tells_which_are(
    nearnorm: Command, store: ModelStore, payments: Bundle, asked: tuple[str, ...]
) -> None:
    told = (payments.version if word == "VERSION" else word for word in asked)
    refused = nearnorm(*told, "--model", "nope")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "nearnorm: --model: no model is named 'nope': there is default, payments-fr\n"


def test_of_many_models_a_mistake_names_some(nearnorm: Command, store: ModelStore, french: Bundle) -> None:
    for number in range(20):
        store.activate(french.version, by="test", model=f"payments-{number:02}")
    told = nearnorm("retrain", "--model", "nope").err
    assert "there is default, payments-00, " in told
    assert told.endswith("payments-18 and 2 more\n")


def test_a_rollback_of_a_model_that_is_not_there_is_told_as_every_request_about_it(
    client: httpx.Client,
) -> None:
    told = problem(client.post("/models/rollback", json={"model": "nope"}), 404, "unknown-model")
    assert told["detail"] == "no model is named 'nope': there is default, payments-fr"
