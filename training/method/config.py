"""The knobs of a fit. A knob is here only if it changes the model; everything else is a rule."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Preset = Literal["default", "paper"]

_PAPER = {
    "transform": "minmax",
    "members": 1,
    "prototypes": None,
    "unit_sphere": True,
    "trees": 0,
    "mixing": False,
    "layerwise": True,
    "representation_epochs": 200,
    "joint_epochs": 200,
    "patience": 15,
    "fixed_target": False,
    "dynamic_weights": True,
}


class FitConfig(BaseModel):
    """A configuration: a preset, and whatever the user sets differently.

    The defaults below are the product's; `FitConfig(preset="paper")` is the method as published,
    with an honest stopping rule.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset = "default"
    transform: Literal["quantile", "minmax"] = "quantile"
    """How a number becomes network input: rank to a normal score, or its range to [0, 1]."""
    members: int = Field(default=4, ge=1, le=64)
    """Networks trained at once; they share the assignment of records to prototypes."""
    prototypes: int | None = Field(default=4, ge=1, le=64)
    """K, the number of normal groups; null chooses it by silhouette among 2 to 10."""
    embedding: int = Field(default=8, ge=1, le=256)
    """E, the width of one member's embedding."""
    unit_sphere: bool = False
    """Project embeddings and prototypes on the unit sphere."""
    trees: int = Field(default=40, ge=0, le=1000)
    """Oblivious trees over the input, r and q* beside the head, twice as many where the pre-trained teacher
    is believed; with more than ten labelled anomalies fewer, and sixty over the input alone; 0 leaves them
    all out."""
    forests: int = Field(default=8, ge=1, le=100)
    """Boosted forests whose mean these trees learn."""
    mixing: bool = True
    """Mix labelled anomalies with unlabelled rows, the target in proportion."""
    layerwise: bool = False
    """Layer-wise denoising pre-training before the whole autoencoder is trained."""
    representation_epochs: int = Field(default=2, ge=1, le=1000)
    """Most epochs of stage 1, of 64 steps each."""
    joint_epochs: int = Field(default=6, ge=1, le=1000)
    """Most epochs of stage 3, of 64 steps each."""
    patience: int | None = Field(default=None, ge=1, le=1000)
    """Epochs without a better held-out loss before a stage stops; null runs them all."""
    fixed_target: bool = True
    """Hold the clustering target and the likelihoods fixed in the backward pass."""
    dynamic_weights: bool = False
    """Dynamic weight averaging of the losses instead of equal weights."""
    learning_rate: float = Field(default=5e-3, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: object) -> object:
        if isinstance(given, dict) and given.get("preset") == "paper":
            return {**_PAPER, **given}
        return given

    @model_validator(mode="after")
    def _layers_of_one_member(self) -> Self:
        if self.layerwise and self.members > 1:
            raise ValueError("layerwise pre-training is for one member: set members to 1")
        return self

    @classmethod
    def preset_of(cls, name: Preset) -> Self:
        """The configuration `name` as it stands."""
        return cls.model_validate({"preset": name})
