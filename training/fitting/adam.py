"""Adam with weight decay, as torch.optim.Adam takes its steps.

That class loads torch's compiler, which nothing here uses, when it is first made: more than a second of
processor time for every training. The steps themselves are torch's all the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim.adam import adam


@dataclass(frozen=True)
class _Moments:
    """What is remembered of one parameter's gradients."""

    mean: Tensor
    square: Tensor
    steps: Tensor = field(default_factory=lambda: torch.zeros(()))


class Adam:
    """Steps down the gradients of parameters; one without a gradient stays as it is."""

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float, weight_decay: float) -> None:
        self._parameters = list(parameters)
        self._moments: dict[int, _Moments] = {}
        self._rate, self._decay = learning_rate, weight_decay

    def step(self, loss: Tensor) -> None:
        """One step down the gradients of `loss`."""
        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        moved, gradients, moments = [], [], []
        for place, parameter in enumerate(self._parameters):
            if parameter.grad is None:
                continue
            if place not in self._moments:
                self._moments[place] = _Moments(torch.zeros_like(parameter), torch.zeros_like(parameter))
            moved.append(parameter)
            gradients.append(parameter.grad)
            moments.append(self._moments[place])
        with torch.no_grad():
            adam(
                moved,
                gradients,
                [one.mean for one in moments],
                [one.square for one in moments],
                [],
                [one.steps for one in moments],
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=self._rate,
                weight_decay=self._decay,
                eps=1e-8,
                maximize=False,
            )
