"""What each column is taken for, as a table to read and as a schema file to edit."""

from collections.abc import Iterator, Sequence

from nearnorm.models.data.toml_text import quoted, toml_text
from nearnorm.training.dataset.columns.infer import Finding

WIDEST_NAME = 40


def as_table(findings: Sequence[Finding]) -> Iterator[str]:
    """A line a column: its kind, why, what else it could be, and how its values look."""
    names = [_short(finding.feature.name) for finding in findings]
    width = max(map(len, names))
    for name, finding in zip(names, findings, strict=True):
        yield f"  {name:<{width}}  {finding.feature.kind:<11}  {_words(finding)}"


def as_schema(findings: Sequence[Finding], source: str) -> str:
    """A TOML file with a table for each column: what `nearnorm train --schema` takes."""
    parts = [
        f"# What `nearnorm inspect` took the columns of {_one_line(source)} for.\n"
        "# Mend what is wrong, keep the file, and give it to `nearnorm train --schema`."
    ]
    for finding in findings:
        lines = [f"# {_one_line(warning)}" for warning in finding.warnings if finding.feature.kind.scored]
        lines += [f"[schema.{quoted(finding.feature.name)}]  # {_words(finding)}"]
        lines += [f'kind = "{finding.feature.kind}"']
        if finding.feature.keep:
            lines += ["keep = true"]
        if finding.feature.missing:
            lines += [f"missing = [{', '.join(map(toml_text, finding.feature.missing))}]"]
        if finding.feature.format is not None:
            lines += [f'format = "{finding.feature.format}"', f"zone = {toml_text(finding.feature.zone)}"]
        if finding.feature.since:
            lines += [f"since = [{', '.join(map(toml_text, finding.feature.since))}]"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _words(finding: Finding) -> str:
    feature = finding.feature
    kept = f"{len(feature.categories)} categories" if feature.categories else ""
    marks = f"missing where {', '.join(map(toml_text, feature.missing))}" if feature.missing else ""
    since = f"counted since {', '.join(map(_short, feature.since))}" if feature.since else ""
    parts = [
        ", ".join(part for part in (kept, finding.why) if part),
        "kept with events" if feature.keep else "",
        since,
        marks,
        f"{finding.missing:.1%} missing, {finding.distinct:,} distinct",
        "or " + ", ".join(finding.others) if finding.others else "",
        "such as " + ", ".join(finding.examples) if finding.examples else "",
    ]
    return "; ".join(part for part in parts if part)


def _short(name: str) -> str:
    name = _one_line(name) if name == name.strip() else repr(name)
    return name if len(name) <= WIDEST_NAME else name[: WIDEST_NAME - 1] + "…"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
