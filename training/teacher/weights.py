"""The teacher's weights, in a file beside this one."""

from functools import cache
from pathlib import Path

import numpy as np
import torch

from nearnorm.training.teacher.network import Network

WEIGHTS = Path(__file__).with_name("weights.npz")


@cache
def teacher() -> Network:
    """The network that has learnt."""
    network = Network()
    with np.load(WEIGHTS, allow_pickle=False) as arrays:
        network.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
    return network.eval().requires_grad_(False)


def write(network: Network, path: Path) -> None:
    np.savez(path, **{name: value.numpy() for name, value in network.state_dict().items()})
