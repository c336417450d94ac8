"""Commands of the store over years: what is in it, what may go, whether it is as it was written."""

from typing import Annotated

import typer

from nearnorm.models.errors import StoreError, StoreOutOfReach
from nearnorm.models.store.listing import Listed, listed
from nearnorm.models.store.verify import verify as check_store
from nearnorm.service.cli import lines
from nearnorm.service.cli.keys import in_ledger, user, written
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import store_checks
from nearnorm.service.ledger.tables.store_checks import StoreCheck
from nearnorm.service.settings import CENTURY, load_settings
from nearnorm.service.upkeep.check import key
from nearnorm.service.upkeep.collection import Plan, plan
from nearnorm.service.upkeep.deletion import delete_version

_Reason = Annotated[str | None, typer.Option(help="Why, for the store and the audit trail.")]

_SHARES = {"recall_at_budget": "anomalies found", "false_alert_rate": "of normal rows alert"}
"""Of a version's metrics those that a glance wants; --json has all."""


def list_models(
    model: Annotated[
        str | None, typer.Option(help="Only versions that served there, or were trained for it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="An object a line, with every metric.")] = False,
) -> None:
    """The stored versions, oldest first: a version and the models whose champion it is, and below it what it
    learnt, how it did, its size, and who let it serve, and why."""
    store = load_settings().open_store()
    wanted = lines.versions(store, store.activations(), model)
    for version in listed(store, wanted):
        if as_json:
            typer.echo(version.model_dump_json(exclude_none=True))
            continue
        typer.echo(" ".join([version.version, *version.serves]))
        for line in _told(version):
            typer.echo(f"    {line}")


def delete(
    version: Annotated[str, typer.Argument(help="A version, or the beginning of one.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, it is only shown.")] = False,
    reason: _Reason = None,
) -> None:
    """Delete a version from the store for good; what events, labels, receipts and jobs say of it stays. Never
    a champion, what a rollback puts back, or what a running job or the watch after a swap needs."""
    store = load_settings().open_store()
    found = store.resolve(version)
    if yes:
        in_ledger(lambda ledger: delete_version(ledger, store, found, user(), reason))
        typer.echo(f"{found} is deleted")
        return
    from nearnorm.service.upkeep.needed import needed

    if why := in_ledger(lambda ledger: needed(store, ledger)).get(found):
        raise StoreError(f"version {found} stays: {why}")
    typer.echo(f"{found} would be deleted: do it by --yes")


def collect(
    keep: Annotated[int, typer.Option(min=1, help="Of each model so many newest versions stay.")] = 10,
    days: Annotated[
        float, typer.Option(min=0, max=CENTURY, help="What came or was activated since then stays.")
    ] = 90,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, it is only shown.")] = False,
    reason: _Reason = None,
) -> None:
    """Delete old versions as `models delete` does; the newest of each model stay, and what is not old."""
    store = load_settings().open_store()
    because = reason if reason is not None else f"gc --keep {keep} --days {days:g}"

    def work(ledger: Ledger) -> Plan:
        planned = plan(store, ledger, keep, days)
        for version in planned.goes if yes else ():
            try:
                delete_version(ledger, store, version.version, user(), because)
            except StoreOutOfReach:
                raise
            except StoreError as error:  # another deleted or activated it meanwhile: the rest may go
                typer.echo(str(error))
            else:
                typer.echo(f"{version.version} is deleted")
        return planned

    planned = in_ledger(work)
    if yes:
        store.sweep()
        if not planned.goes:
            typer.echo("no version goes: without --yes it is told why each stays")
        return
    for version, why in planned.stays:
        typer.echo(f"{version.version} stays: {why}")
    for version in planned.goes:
        typer.echo(f"{version.version} would be deleted, {_size(version.bytes)}")
    mend = ": do it by --yes" if planned.goes else ""
    typer.echo(f"{len(planned.goes)} versions of {_size(planned.bytes)} would be deleted{mend}")


def verify(
    versions: Annotated[
        list[str] | None, typer.Argument(help="Versions, or beginnings of them; default: all.")
    ] = None,
) -> None:
    """Compare what is stored with its digests. Running services learn what was found of a whole store."""
    store = load_settings().open_store()
    begun = now_ms()
    named = [store.resolve(version) for version in versions] if versions else None
    looked_at, problems = 0, dict[str, str]()
    for version, problem in check_store(store, named):
        looked_at += 1
        if problem is not None:
            problems[version] = problem
            typer.echo(f"{version}: {problem}")
    if named is None:
        found = StoreCheck(key(store), begun, now_ms(), looked_at, problems)
        in_ledger(lambda ledger: written(ledger, lambda c: store_checks.put(c, found)))
    if problems:
        raise StoreError(
            f"{len(problems)} of {looked_at} versions are damaged or missing: import their bundles again, or "
            "bring them back from a backup"
        )
    typer.echo(f"{looked_at} versions are as they were written")


def _told(version: Listed) -> list[str]:
    if version.problem is not None:
        return [f"{_size(version.bytes)}; {version.problem}"]
    labels = f"{_count(version.anomalies)} anomalies and {_count(version.normals)} normal ones confirmed"
    lines = [
        f"made {(version.created_at or '')[:10]} from {_count(version.rows)} rows, {labels}; "
        f"{_size(version.bytes)}"
    ]
    figures = [
        f"{value:.1%} {spoken}"
        for name, spoken in _SHARES.items()
        if (value := version.metrics.get(name)) is not None
    ]
    if (precision := version.metrics.get("average_precision")) is not None:
        figures.append(f"average precision {precision:.3f}")
    if figures:
        lines.append("on held-out rows: " + ", ".join(figures))
    if (entry := version.activated) is not None:
        why = f": {entry.reason}" if entry.reason else ""
        spoken = {"activate": "activated", "rollback": "rolled back to"}[entry.action]
        lines.append(f"{spoken} {entry.at[:10]} by {entry.by}{why}")
    return lines


def _count(count: int | None) -> str:
    return f"{count or 0:,}"


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
