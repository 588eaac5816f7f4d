"""Run the `quadnet` command as `python -m quadnet`."""

import sys
from pathlib import Path

# Python searches the current directory first, which may hold an unrelated module of the same name.
# Remove it from the path, unless this package itself is imported from there.
if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]:
    del sys.path[0]

from quadnet.cli.main import main

main()
