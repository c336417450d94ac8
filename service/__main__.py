"""The `nearnorm` command, and `python -m service`."""

import sys

from service.lean import start_lean

SERVING = ("serve", "serve-beside")


def main() -> None:
    """Whoever serves starts lean, before anything is imported that could load what serving never uses."""
    if len(sys.argv) > 1 and sys.argv[1] in SERVING:
        start_lean()
    from service.cli import main

    main()


if __name__ == "__main__":
    main()
