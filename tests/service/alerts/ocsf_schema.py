"""What OCSF's own schema says of a finding: a package carries its versions as they were published."""

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchema, OcsfJsonSchemaEmbedded, get_ocsf_schema, get_packaged_versions

from nearnorm.service.alerts.ocsf import SCHEMA_VERSION

CLASS = "detection_finding"
VERSIONS = sorted(
    version for version in get_packaged_versions() if "-" not in version and version >= SCHEMA_VERSION
)
"""From the one that findings name to the newest, as text: none has two digits in a part."""


@cache
def _schema(version: str) -> Any:
    return get_ocsf_schema(version)


@cache
def _validator(version: str) -> Draft202012Validator:
    embedded = OcsfJsonSchemaEmbedded(OcsfJsonSchema(_schema(version)))
    return Draft202012Validator(embedded.get_class_schema(CLASS))


def mistakes(finding: dict[str, Any], version: str = SCHEMA_VERSION) -> list[str]:
    """What the schema does not allow, and captions that are not those of their numbers."""
    found = [f"{error.json_path}: {error.message}" for error in _validator(version).iter_errors(finding)]
    classes, objects = _schema(version)["classes"], _schema(version)["objects"]
    found += _captions(finding, classes[CLASS]["attributes"], "$")
    analytic = finding["finding_info"].get("analytic")
    if analytic is not None:
        found += _captions(analytic, objects["analytic"]["attributes"], "$.finding_info.analytic")
    return found


def _captions(document: dict[str, Any], attributes: dict[str, Any], where: str) -> list[str]:
    found = []
    for name, value in document.items():
        told = attributes.get(name, {})
        if "enum" in told and (sibling := told.get("sibling")) in document:
            caption = told["enum"][str(value)]["caption"]
            if document[sibling] != caption:
                found.append(f"{where}.{sibling}: {document[sibling]!r} is not {caption!r}")
    return found
