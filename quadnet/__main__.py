"""`python -m quadnet` is the `quadnet` command."""

from quadnet.cli import main

main()
