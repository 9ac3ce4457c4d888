"""``cellplane version``."""

from __future__ import annotations


def version() -> None:
    """Show the version of the command line.

    Example: cellplane version
    """
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of

    try:
        print(of("cellplane"))
    except PackageNotFoundError:
        print("unknown: not installed")
