"""`python -m quadnet` is the `quadnet` command."""

import sys
from pathlib import Path

# Python looks for modules in the current directory first, where something else may be named as a
# module of ours is. It stays only where this package itself comes from there.
if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]:
    del sys.path[0]

from quadnet.cli.main import main

main()
