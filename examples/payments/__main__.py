"""`python -m examples.payments`: the whole story, and its picture."""

import argparse
from pathlib import Path

from examples.payments.story import tell
from examples.picture import draw

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--cards", type=int, default=400)
parser.add_argument("--weeks", type=int, default=4, help="of the service, after four of history")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--folder", type=Path, default=Path("var/payments"), help="new: files and state")
parser.add_argument("--picture", type=Path, default=Path("var/payments/payments.svg"))
given = parser.parse_args()
draw(tell(given.folder, given.cards, given.weeks, given.seed), "Payments", "frauds", given.picture)
print(f"The picture: {given.picture}")
