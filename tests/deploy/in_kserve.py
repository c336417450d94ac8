"""Manifests by KServe's own models, in an environment of its own: in_kserve.py, with a list of them as JSON.

Prints what they keep of each; null where a value has the wrong type. Kubernetes' own parts, which KServe
takes from a package that speaks another dialect by now, are kept as they are: another schema is for those.
"""

import json
import sys
from types import SimpleNamespace
from typing import Any, ClassVar

import kserve.models
from kserve import ApiClient, V1beta1InferenceService


class OfKubernetes:
    """A model without fields: what is read as one stays as it is."""

    openapi_types: ClassVar[dict[str, str]] = {}


def of_kubernetes(_: str) -> Any:
    return OfKubernetes


def kept(manifest: dict[str, Any]) -> Any:
    client, sent = ApiClient(), SimpleNamespace(data=json.dumps(manifest))
    try:
        return client.sanitize_for_serialization(client.deserialize(sent, V1beta1InferenceService))
    except ValueError:
        return None


kserve.models.__getattr__ = of_kubernetes  # asked for the names that KServe does not define
print(json.dumps([kept(manifest) for manifest in json.load(sys.stdin)]))
