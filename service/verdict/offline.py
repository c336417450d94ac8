"""The verdict on a file's rows: by the policy in force for a bundle, or by a budget of its own."""

import numpy as np
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from nearnorm.models.bundle.manifest import Manifest
from nearnorm.models.conformal import Policy, Ranks, default_policy, lowest_anomaly
from nearnorm.models.errors import ConfigError
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.verdict import budget, policies
from nearnorm.service.verdict.budget import NormalShare
from nearnorm.service.verdict.policies import InForce
from nearnorm.service.verdict.solve import Ground


class OfflineVerdict(Struct, frozen=True):
    """What decides. `threshold`: the lowest score that is an anomaly; `told` says in a sentence by what."""

    reference: NDArray[np.float32]
    threshold: float
    alert_on_novel: bool
    told: str

    @property
    def ranks(self) -> Ranks:
        return Ranks(self.reference, default_policy(len(self.reference)), self.threshold)


def without_ledger(manifest: Manifest, wanted: str | None) -> OfflineVerdict:
    """By a share of the bundle's own reference; 1% of normal where nothing is `wanted`.

    Raises ConfigError for a budget that is none, is finer than the reference, or is solved from traffic.
    """
    rows = manifest.core.reference.rows
    if wanted is None:
        return by_share(manifest, default_policy(rows).budget, "the default policy, 1% of normal")
    parsed = budget.parse(wanted)
    if not isinstance(parsed, NormalShare):
        raise ConfigError(
            f'--budget "{wanted}" is solved from traffic or verdicts, and this bundle is no champion of '
            'the ledger in NEARNORM_HOME: give a share such as "1% of normal", or score where it serves'
        )
    return by_share(manifest, parsed.share, f'--budget "{wanted}"')


def by_share(manifest: Manifest, share: float, by: str) -> OfflineVerdict:
    """A share in (0, 1) of the bundle's own reference is an anomaly. `by` says whose word that is.

    Raises ConfigError where the share is finer than the reference."""
    reference = Ground.of(manifest, "").reference
    Ranks(reference, Policy(share))  # refuses what is finer than the reference
    return _verdict(reference, lowest_anomaly(reference, share), True, by)


def by_threshold(manifest: Manifest, lowest: float) -> OfflineVerdict:
    """A score of `lowest` or more is an anomaly. Raises ConfigError for what no score is."""
    if not 0.0 <= lowest <= 1.0:
        raise ConfigError(f"threshold {lowest} is no score: give a number from 0 to 1")
    reference = Ground.of(manifest, "").reference
    return _verdict(reference, float(np.float32(lowest)), True, "the threshold that was given")


def by_ledger(
    connection: sa.Connection, manifest: Manifest, model: str, wanted: str | None
) -> OfflineVerdict:
    """As the service judges what the champion of `model` scores, but for labels on single records: the policy
    in force, or the budget that is `wanted`, by the reference as people have reviewed it.

    Raises ConfigError for a budget that cannot be read or solved.
    """
    digests = [row.digest for row in manifest.core.reference.review]
    ground = Ground.of(manifest, model, labels.anomalies(connection, model, digests))
    in_force = policies.current(connection, ground, None)
    novel = in_force.policy.alert_on_novel
    if wanted is None:
        return _verdict(ground.reference, in_force.threshold, novel, _spoken(in_force, model))
    own = replace(in_force.policy, version=1, budget=wanted, at=now_ms())  # 0 would be the default
    lowest = policies.solved(connection, ground, own).threshold
    return _verdict(ground.reference, lowest, novel, f'--budget "{wanted}", solved for model {model}')


def _spoken(in_force: InForce, model: str) -> str:
    policy = in_force.policy
    if not policy.version:
        return f'the default policy ("{policy.budget}") of model {model}'
    found = f'policy {policy.version} ("{policy.budget}") of model {model}'
    if in_force.solved.budget == budget.parse(policy.budget):
        return found
    return f"{found}, which cannot be solved yet, so by the default share"


def _verdict(reference: NDArray[np.float32], threshold: float, novel: bool, by: str) -> OfflineVerdict:
    also = ", and so is what is novel" if novel else ""
    judged_by = f"by {by}: a score of {threshold!r} or more is an anomaly{also}"
    return OfflineVerdict(reference, threshold, novel, judged_by)
