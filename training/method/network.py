"""The detector: preprocessing, encoder, decoder, prototypes and the unified score in one module.

What is exported is this module. Members (M networks trained at once) keep their own embedding and
head; the reconstruction and the distances to prototypes are taken over all members together, so
that "the nearest normal group" and "the reconstruction error" have one meaning.
"""

import torch
from torch import Tensor, nn

from nearnorm.training.method.cold_start import RankHead
from nearnorm.training.method.config import FitConfig
from nearnorm.training.method.ensemble import MemberLinear, leaky
from nearnorm.training.method.forest.grown import GrownForest
from nearnorm.training.method.heads import ForestHead, ScoreHead
from nearnorm.training.method.inputs.preprocess import Preprocess
from nearnorm.training.method.losses import huber

WIDEST_HIDDEN = 120
"""Most hidden units: half of the input's width up to here. Of 1,500 columns more made a fit ten times as long
and the graph five times as large, and found no more (docs/lab/detection.md)."""


class Detector(nn.Module):
    """Scores of records; higher is more anomalous.

    `forward` takes numeric [N, Dn] float64 (NaN = missing) and codes [N, Dc] int64 and answers
    score [N] in [0, 1], similarity [N, K] to each prototype, the nearest prototype [N] int64,
    the distance [N] to it in the embedding, reconstruction error [N] and residual [N, Dn + Dc] of
    each column. A row's answers do not depend on the other rows.
    """

    centres: nn.Parameter

    def __init__(self, preprocess: Preprocess, config: FitConfig, generator: torch.Generator) -> None:
        super().__init__()
        width, members, embedding = preprocess.width, config.members, config.embedding
        hidden = min(width - (width - embedding) // 2, WIDEST_HIDDEN)
        self.preprocess = preprocess
        self.unit_sphere = config.unit_sphere
        self.bounded_input = config.transform == "minmax"
        self.encode_in = MemberLinear(members, width, hidden, generator)
        self.encode_out = MemberLinear(members, hidden, embedding, generator)
        self.decode_in = MemberLinear(members, embedding, hidden, generator)
        self.decode_out = MemberLinear(members, hidden, width, generator)
        self.centres = nn.Parameter(torch.zeros(members, 1, embedding))
        self.head: ScoreHead | ForestHead | RankHead = ScoreHead(members, embedding, generator)
        self.grown: GrownForest | None = None

    def encode(self, rows: Tensor) -> Tensor:
        """Input [N, D] -> raw embeddings [M, N, E], before any projection."""
        hidden = leaky(self.encode_in(rows))
        return leaky(self.encode_out(hidden))

    def decode(self, raw: Tensor) -> Tensor:
        """Raw embeddings [M, N, E] -> each member's reconstruction [M, N, D]."""
        return self.output(self.decode_out(leaky(self.decode_in(raw))))

    def output(self, reconstruction: Tensor) -> Tensor:
        """LeakyReLU on inputs in [0, 1] as published; normal scores have both signs: nothing."""
        return leaky(reconstruction) if self.bounded_input else reconstruction

    def evidence(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Input [N, D] -> z [M, N, E], SmoothL1 of each slot [N, D], squared distance [N, K]."""
        raw = self.encode(rows)
        # one product over members and hidden units: the mean of the members' reconstructions
        hidden = leaky(self.decode_in(raw)).transpose(0, 1).flatten(1)
        weight = self.decode_out.weight.flatten(0, 1) / len(raw)
        rebuilt = self.output(hidden @ weight + self.decode_out.bias.mean(0))
        z = self.project(raw)
        return z, huber((rows - rebuilt).abs()), self.squared_distance(self.join(z))

    def project(self, raw: Tensor) -> Tensor:
        return nn.functional.normalize(raw, dim=-1) if self.unit_sphere else raw

    def join(self, z: Tensor) -> Tensor:
        """[M, N, E] -> [N, M E], scaled so that squared distances are means over members."""
        scale: float = len(z) ** -0.5
        return z.transpose(0, 1).flatten(1) * scale

    @property
    def prototypes(self) -> Tensor:
        """[K, M E], in the space of `embed`."""
        return self.join(self.project(self.centres))

    def set_prototypes(self, joined: Tensor) -> None:
        """Take prototypes [K, M E] from the space of `embed`."""
        members, _, embedding = self.centres.shape
        centres = joined.reshape(-1, members, embedding).transpose(0, 1) * float(members) ** 0.5
        self.centres = nn.Parameter(centres.contiguous())

    def squared_distance(self, embedded: Tensor) -> Tensor:
        """||e - p_k||² of [N, M E] to every prototype: [N, K], as one matrix product."""
        prototypes = self.prototypes
        offset = prototypes.square().sum(1) - 2.0 * (embedded @ prototypes.T)
        return torch.relu(embedded.square().sum(1, keepdim=True) + offset)

    def embed(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Records -> [N, M E], the space in which `prototypes` and distances lie."""
        return self.join(self.project(self.encode(self.preprocess(numeric, codes))))

    def forward(
        self, numeric: Tensor, codes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        plain = self.preprocess.plain_rows(numeric, codes)
        rows = self.preprocess.mapped(plain)
        z, slots, squared = self.evidence(rows)
        similarity = student_t(squared)
        error = slots.mean(1)
        nearest = similarity.argmax(1)
        logit = self.head(z, error, similarity.amax(1), rows).mean(0)
        if self.grown is not None:
            logit = logit + self.grown(plain)
        return (
            torch.sigmoid(logit),
            similarity,
            nearest,
            squared.amin(1).sqrt(),
            error,
            slots @ self.preprocess.groups,
        )


def student_t(squared_distance: Tensor) -> Tensor:
    """q = (1 + d²/alpha)^(-(alpha + 1)/2) with alpha = 1."""
    return 1.0 / (1.0 + squared_distance)
