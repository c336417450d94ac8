"""What a job trains on, as files in its folder: the champion, the labels and the traffic of one moment."""

import shutil
from pathlib import Path

import msgspec

from nearnorm.models.errors import NearnormError
from nearnorm.models.retraining import TrainingRequest
from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.ledger.tables import lines, snapshot
from nearnorm.service.ledger.tables.jobs import Job
from nearnorm.service.ledger.tables.lines import LineData
from nearnorm.service.retraining.attempts.workplace import Workplace


def write_snapshot(place: Workplace, job: Job, folder: Path) -> None:
    """Raises NearnormError, BundleError, OSError; Lost, Cancelled, Stopped."""
    from nearnorm.service.verdict import policies  # numpy, which a worker that waits can do without

    champion = place.store.champion(job.model)
    if champion is None:
        raise NearnormError(f"model {job.model!r} has no champion to begin with: activate a version first")
    bundle = place.store.open(champion.version)
    if place.trusted is not None:
        place.trusted.check(bundle)
    rows = place.settings.retrain_traffic_rows
    base = _base_data(place, job.model)
    with place.ledger.read() as connection:
        seen = snapshot.read(connection, job.model, champion.version, rows)
        share = policies.share_in_force(connection, bundle, job.model)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    request = TrainingRequest(
        champion=str(bundle.path.absolute()),
        version=bundle.version,
        trusted=place.trusted is not None,
        budget=share,
        source=base.training_data,
        reference=base.reference_data,
        config=base.training_config,
    )
    (folder / "request.json").write_bytes(msgspec.json.encode(request))
    for name, records in (("labels", seen.verdicts), ("traffic", seen.traffic)):
        text = "".join(f"{record}\n" for record in records)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    place.renew(job, watermark=seen.watermark, champion=champion.version, evidence="{}")


def _base_data(place: Workplace, model: str) -> LineData:
    """What was given for the line; for the default one, where that has nothing, the settings."""
    with place.ledger.read() as connection:
        line = lines.find(connection, model)
    own = line.base if line else LineData()
    if model != DEFAULT_MODEL:
        return own
    config = place.settings.training_config
    by_settings = LineData(
        place.settings.training_data,
        place.settings.reference_data,
        str(config.absolute()) if config else None,
    )
    return own.over(by_settings)
