"""Which of the protocol's operations a path means, and of which model and version."""

import re

from msgspec import Struct

PREFIX = "/v2"
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(ready|infer))?")
_PLAIN = {
    "/v2": "server",
    "/v2/health/live": "live",
    "/v2/health/ready": "ready",
    "/v2/models": "models",
}
_TEMPLATES = {None: "model", "ready": "model-ready", "infer": "infer"}


class Target(Struct, frozen=True):
    """`route` is the path with `{model_name}` and `{model_version}` in it, as the OpenAPI document has it."""

    operation: str
    route: str
    model: str = ""
    version: str | None = None


def is_ours(path: str) -> bool:
    return path.startswith(f"{PREFIX}/") or path == PREFIX


def target_of(path: str) -> Target | None:
    """None: the protocol has no such path."""
    plain = _PLAIN.get(path)
    if plain is not None:
        return Target(plain, path)
    found = _MODEL.fullmatch(path)
    if found is None:
        return None
    model, version, what = found.groups()
    route = "/v2/models/{model_name}"
    if version is not None:
        route += "/versions/{model_version}"
    if what is not None:
        route += f"/{what}"
    return Target(_TEMPLATES[what], route, model, version)
