"""The check of the pod security standard finds what it is for."""

from copy import deepcopy
from typing import Any

import pytest

from tests.deploy.restricted import violations

OWN: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
POD: dict[str, Any] = {
    "volumes": [{"name": "tmp", "emptyDir": {}}],
    "containers": [{"name": "one", "securityContext": OWN}],
}


def test_what_keeps_to_it_has_none() -> None:
    assert violations(POD) == []


@pytest.mark.parametrize(
    "more",
    [
        {"hostNetwork": True},
        {"volumes": [{"name": "disk", "hostPath": {"path": "/"}}]},
        {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
        {"initContainers": [{"name": "first"}]},
    ],
    ids=str,
)
def test_a_pod_that_breaks_it_has_one(more: dict[str, Any]) -> None:
    assert violations(POD | more)


@pytest.mark.parametrize(
    "more",
    [
        {"privileged": True},
        {"allowPrivilegeEscalation": True},
        {"capabilities": {"drop": ["NET_RAW"]}},
        {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}},
        {"runAsNonRoot": False},
        {"runAsUser": 0},
        {"seccompProfile": {"type": "Unconfined"}},
        {"procMount": "Unmasked"},
    ],
    ids=str,
)
def test_a_container_that_breaks_it_has_one(more: dict[str, Any]) -> None:
    pod = deepcopy(POD)
    pod["containers"][0]["securityContext"] |= more
    assert len(violations(pod)) == 1
    pod["containers"][0]["securityContext"] = OWN
    pod["containers"][0]["ports"] = [{"containerPort": 8000, "hostPort": 80}]
    assert violations(pod) == ["one: hostPort"]


@pytest.mark.parametrize("name", list(OWN))
def test_nothing_of_it_may_be_left_out(name: str) -> None:
    left = {key: value for key, value in OWN.items() if key != name}
    assert len(violations(POD | {"containers": [{"name": "one", "securityContext": left}]})) == 1
