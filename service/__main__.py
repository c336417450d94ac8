"""`python -m service`: the `nearnorm` command."""

from service.cli import main

main()
