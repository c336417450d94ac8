import subprocess
import sys

import torch

from nearnorm.training.fitting.adam import Adam


def test_steps_are_those_of_torchs_adam_and_what_has_no_gradient_stays() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second, idle = (torch.randn(5, generator=generator, requires_grad=True) for _ in range(3))
    ours = [one.detach().clone().requires_grad_() for one in (first, second, idle)]
    theirs = [first, second, idle]

    def loss(parameters: list[torch.Tensor], step: int) -> torch.Tensor:
        one, other, _ = parameters
        return (one**2).sum() + ((one * other).sin().sum() if step > 3 else 0.0)

    adam = Adam(ours, learning_rate=0.1, weight_decay=0.01)
    yardstick = torch.optim.Adam(theirs, lr=0.1, weight_decay=0.01, fused=True)
    for step in range(10):
        adam.step(loss(ours, step))
        yardstick.zero_grad()
        loss(theirs, step).backward()  # type: ignore[no-untyped-call]
        yardstick.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


def test_a_fit_loads_neither_torchs_compiler_nor_scikit_learn() -> None:
    """Either takes more than a second of every training and retraining."""
    script = (
        "import sys\n"
        "import nearnorm.training.pipeline\n"
        "from nearnorm.training.fitting.fit import fit\n"
        "from tests.training.samples import quick, sample\n"
        "fit(sample()[0], quick(), seed=0)\n"
        "print([name for name in ('torch._dynamo', 'sklearn', 'scipy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
