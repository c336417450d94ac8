"""The detector as it is exported: the same answers, in fewer and larger steps.

Weights that can be multiplied beforehand are, members that are only averaged become one, and rows lie
along the last axis, so that every product and sum over members reads memory in order. The exporter
compares its answers with the detector's own (export.assert_parity).
"""

import torch
from torch import Tensor, nn

from training.column_maps import KNOTS, NormalMap, RangeMap
from training.heads import FOREST_SHARE, ForestHead, ScoreHead, soft_evidence
from training.losses import huber
from training.members import MemberLinear, leaky
from training.network import Detector, student_t
from training.preprocess import FARTHEST, Preprocess


class Fused(nn.Module):
    """`forward` answers as Detector.forward does; D slots, M members, K prototypes, N rows."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.input = FusedInput(detector.preprocess)
        self.members = detector.encode_in.weight.shape[0]
        self.unit_sphere = detector.unit_sphere
        self.output = detector.output
        encode_in, encode_bias = _columns(detector.encode_in)
        encode_out, raw_bias = _columns(detector.encode_out)
        decode_in, decode_bias = _columns(detector.decode_in)
        decode_out = detector.decode_out
        head = detector.head
        if isinstance(head, ScoreHead):
            self.head: nn.Module = FusedHead(head)
        elif isinstance(head, ForestHead):
            self.head = FusedForestHead(head)
        else:
            self.head = TurnedHead(head)
        prototypes = detector.prototypes.detach()
        for name, value in {
            "encode_in": encode_in.flatten(0, 1),  # [M H, D]
            "encode_bias": encode_bias.flatten(0, 1),
            "encode_out": encode_out,  # [M, E, H]
            "raw_bias": raw_bias,
            "decode_in": decode_in,  # [M, H, E]
            "decode_bias": decode_bias,
            # the mean of the members' reconstructions, as one product: [D, M H]
            "decode_out": decode_out.weight.detach().flatten(0, 1).t() / self.members,
            "rebuilt_bias": decode_out.bias.detach().mean(0).t(),
            # ||e||² - 2 e p + ||p||² with e = z / sqrt(M), the scale taken into the constants: [K, M E]
            "towards": -2.0 * self.members**-0.5 * prototypes,
            "length": prototypes.square().sum(1, keepdim=True),
            "groups": detector.preprocess.groups.t(),
        }.items():
            self.register_buffer(name, value.contiguous())

    encode_in: Tensor
    encode_bias: Tensor
    encode_out: Tensor
    raw_bias: Tensor
    decode_in: Tensor
    decode_bias: Tensor
    decode_out: Tensor
    rebuilt_bias: Tensor
    towards: Tensor
    length: Tensor
    groups: Tensor

    def forward(
        self, numeric: Tensor, codes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        rows = self.input(numeric, codes)
        count = rows.shape[1]
        hidden = leaky(self.encode_in @ rows + self.encode_bias).reshape(self.members, -1, count)
        raw = leaky(self.encode_out @ hidden + self.raw_bias)
        opened = leaky(self.decode_in @ raw + self.decode_bias).reshape(-1, count)
        rebuilt = self.output(self.decode_out @ opened + self.rebuilt_bias)
        slots = huber((rows - rebuilt).abs())
        z = nn.functional.normalize(raw, dim=1) if self.unit_sphere else raw
        joined = z.reshape(-1, count)
        own = (joined * joined).sum(0, keepdim=True) / self.members
        squared = torch.relu(self.towards @ joined + self.length + own)
        nearest = squared.amin(0)
        error = slots.mean(0)
        score = self.head(z, error, student_t(nearest), rows)
        return (
            torch.sigmoid(score.mean(0)),
            student_t(squared).t(),
            squared.argmin(0),
            nearest.sqrt(),
            error,
            (self.groups @ slots).t(),
        )


class FusedHead(nn.Module):
    """ScoreHead with its members' logits averaged inside the last product."""

    own: Tensor
    own_bias: Tensor
    by_error: Tensor
    by_similarity: Tensor
    out: Tensor
    skip: Tensor
    bias: Tensor

    def __init__(self, head: ScoreHead) -> None:
        super().__init__()
        own, own_bias = _columns(head.own)
        shared, shared_bias = _columns(head.shared)
        out, bias = _columns(head.out)
        bias = bias.mean(0)
        self.skips = head.skip is not None
        if head.skip is not None:
            skip, skip_bias = _columns(head.skip)
            self.register_buffer("skip", skip.mean(0))  # [1, D]
            bias = bias + skip_bias.mean(0)
        self.register_buffer("own", own)
        self.register_buffer("own_bias", own_bias + shared_bias)
        self.register_buffer("by_error", shared[:, :, :1].contiguous())
        self.register_buffer("by_similarity", shared[:, :, 1:].contiguous())
        self.register_buffer("out", (out / len(out)).reshape(1, -1))  # [1, M W]
        self.register_buffer("bias", bias)

    def forward(self, z: Tensor, error: Tensor, similarity: Tensor, rows: Tensor) -> Tensor:
        """z [M, E, N], error [N], similarity [N], rows [D, N] -> logit [1, N]."""
        evidence = self.by_error * error + self.by_similarity * similarity
        hidden = leaky(self.own @ z + self.own_bias + evidence)
        logit = self.out @ hidden.reshape(-1, rows.shape[1]) + self.bias
        return logit + self.skip @ rows if self.skips else logit


class FusedForestHead(nn.Module):
    """ForestHead: its questions [DEPTH, T, F] multiplied from the left."""

    questions: Tensor
    offsets: Tensor
    coefficients: Tensor
    constant: Tensor

    def __init__(self, head: ForestHead) -> None:
        super().__init__()
        self.score = FusedHead(head.score)
        self.register_buffer("questions", head.weights.transpose(1, 2).contiguous())
        self.register_buffer("offsets", head.offsets[:, :, None])
        self.register_buffer("coefficients", head.coefficients[:, None, :])
        self.register_buffer("constant", head.constant)

    def forward(self, z: Tensor, error: Tensor, similarity: Tensor, rows: Tensor) -> Tensor:
        """As FusedHead."""
        smooth: Tensor = self.score(z, error, similarity, rows)
        asked = torch.cat([rows, soft_evidence(error, similarity).t()], dim=0)
        products: list[Tensor] = []
        for question, offset in zip(self.questions, self.offsets, strict=True):
            answer = (question @ asked + offset).clamp(0.0, 1.0)
            products += [answer, *(answer * product for product in products)]
        logit = (1.0 - FOREST_SHARE) * smooth + self.constant
        for product, coefficient in zip(products, self.coefficients, strict=True):
            logit = logit + coefficient @ product
        return logit


class TurnedHead(nn.Module):
    """Any other head, given its rows along the first axis."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, z: Tensor, error: Tensor, similarity: Tensor, rows: Tensor) -> Tensor:
        logits: Tensor = self.head(z.transpose(1, 2), error, similarity, rows.t())
        return logits


class FusedInput(nn.Module):
    """Preprocess with rows along the last axis: numbers and codes -> [D, N]."""

    centre: Tensor
    indicated: Tensor
    slot_column: Tensor
    slot_code: Tensor

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        plain = preprocess.map
        self.map = FusedNormalMap(plain) if isinstance(plain, NormalMap) else FusedRangeMap(plain)
        self.register_buffer("centre", preprocess.centre[:, None])
        self.register_buffer("indicated", preprocess.indicated)
        self.register_buffer("slot_column", preprocess.slot_column)
        self.register_buffer("slot_code", preprocess.slot_code[:, None])

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        parts = []
        if len(self.centre):
            centred = (numeric.t() - self.centre).clamp(-FARTHEST, FARTHEST).to(torch.float32)
            present = centred == centred
            parts.append(self.map(torch.where(present, centred, 0.0)))
            if len(self.indicated):
                parts.append(1.0 - present.index_select(0, self.indicated).to(torch.float32))
        if len(self.slot_code):
            chosen = codes.t().index_select(0, self.slot_column)
            parts.append((chosen == self.slot_code).to(torch.float32))
        return torch.cat(parts, dim=0)


class FusedRangeMap(nn.Module):
    def __init__(self, plain: RangeMap) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, values: Tensor) -> Tensor:
        scaled: Tensor = self.plain(values.t())
        return scaled.t()


class FusedNormalMap(nn.Module):
    """NormalMap by flat look-ups, which onnxruntime does several times faster than indexing by rows."""

    low: Tensor
    high: Tensor
    base: Tensor
    edges: Tensor
    starts: Tensor
    levels: Tensor
    slopes: Tensor

    def __init__(self, plain: NormalMap) -> None:
        super().__init__()
        starts, levels, slopes = plain.pieces.unbind(1)
        for name, value in {
            "low": plain.low[:, None],
            "high": plain.high[:, None],
            "base": plain.base[:, None].to(torch.int32),
            "edges": plain.edges,
            "starts": starts,
            "levels": levels,
            "slopes": slopes,
        }.items():
            self.register_buffer(name, value.contiguous())

    def forward(self, values: Tensor) -> Tensor:
        values = torch.minimum(torch.maximum(values, self.low), self.high)
        position = self.base.expand(values.shape)
        step = KNOTS // 2
        while step:
            above = values >= _looked_up(self.edges, position + step)
            position = position + above.to(torch.int32) * step
            step //= 2
        start, level, slope = (_looked_up(t, position) for t in (self.starts, self.levels, self.slopes))
        return level + slope * (values - start)


def _looked_up(table: Tensor, position: Tensor) -> Tensor:
    return table.index_select(0, position.reshape(-1)).reshape(position.shape)


def _columns(layer: MemberLinear) -> tuple[Tensor, Tensor]:
    """Weights [M, O, I] and bias [M, O, 1] that are multiplied from the left."""
    weight = layer.weight.detach().transpose(1, 2).contiguous()
    return weight, layer.bias.detach().transpose(1, 2).contiguous()
