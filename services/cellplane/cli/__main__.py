"""``python -m cellplane.cli``: the same as ``cellplane``."""

from __future__ import annotations

import sys

from cellplane.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
