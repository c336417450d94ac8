"""The smallest manifest that can be written: one number, one prototype, and bytes that stand for a model."""

import hashlib

from nearnorm.models.bundle.bundle import MODEL
from nearnorm.models.bundle.manifest import (
    Core,
    DataFacts,
    Golden,
    Group,
    Histogram,
    Manifest,
    NumericProfile,
    Reference,
)
from nearnorm.models.data.schema import Feature, FeatureSchema, Kind

MODEL_BYTES = b"\x12\x07a model"
"""As protobuf reads it: a model of the producer "a model", and nothing else."""


def make_manifest(model: bytes = MODEL_BYTES, seed: int = 0) -> Manifest:
    profile = NumericProfile(low=0.0, median=1.0, high=2.0, missing=0.0)
    core = Core(
        files={MODEL: hashlib.sha256(model).hexdigest()},
        features=FeatureSchema(features=(Feature(name="x", kind=Kind.NUMERIC),)),
        prototypes=1,
        embedding=1,
        data=DataFacts(digest="d", label_column="label", rows=3, anomalies=1, normals=0, unlabelled=2),
        config={},
        seed=seed,
        libraries={},
        reference=Reference(
            rows=1,
            scores=(0.5,),
            distance_high=1.0,
            residual_high={"x": 1.0},
            numeric={"x": Histogram(edges=(), shares=(1.0,), missing=0.0)},
            categorical={},
            prototype_shares=(1.0,),
        ),
        groups=(Group(prototype=0, rows=1, share=1.0, numeric={"x": profile}, categorical={}),),
        golden=Golden(
            numeric=((None,),),
            codes=((),),
            score=(0.5,),
            prototype=(0,),
            distance=(0.0,),
            reconstruction_error=(0.0,),
        ),
        tolerances={},
        metrics={"average_precision": None},
    )
    return Manifest(
        version=core.version, source="a.csv", created_at="now", fit_seconds=1.0, machine="this", core=core
    )
