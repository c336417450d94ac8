"""`python -m examples.network`: the whole story, and its picture."""

import argparse
import sys
from pathlib import Path

from examples.network.connections import Missing
from examples.network.story import tell
from examples.picture import draw

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--batches", type=int, default=4)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--folder", type=Path, default=Path("var/network"), help="new: files and state")
parser.add_argument("--picture", type=Path, default=Path("var/network/network.svg"))
given = parser.parse_args()
try:
    rounds = tell(given.folder, given.batches, given.seed)
except Missing as missing:
    sys.exit(str(missing))
draw(rounds, "Network", "rare connections", given.picture)
print(f"The picture: {given.picture}")
