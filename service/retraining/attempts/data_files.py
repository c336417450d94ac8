"""Which files a job's training reads, so that its reasons may name them without their folders."""

from nearnorm.models.errors import NearnormError
from nearnorm.models.retraining import TrainingRequest, read_part
from nearnorm.service.ledger.tables.jobs import Job
from nearnorm.service.retraining.attempts.workplace import Workplace


def data_files(place: Workplace, job: Job) -> list[str]:
    """By what its request and its champion tell; none where they cannot be read."""
    try:
        request = read_part(place.folder_of(job) / "request.json", TrainingRequest)
        manifest = place.store.open(request.version).manifest
    except (NearnormError, OSError):
        return []
    own = request.source, request.reference, request.config
    champions = manifest.source, manifest.reference_source, manifest.validation_source
    return [file for file in (*own, *champions) if file is not None]
