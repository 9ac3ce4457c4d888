"""The command line of a process: one flag for each setting, and where its file is.

``--listen 127.0.0.1:9601`` or ``--listen=127.0.0.1:9601``; ``--config FILE`` names the file. What a
flag means is the description of its setting, so ``--help`` and the reference never differ.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from cellplane.runtime.config import Loaded, Settings, load

S = TypeVar("S", bound=Settings)


def load_from(
    settings: type[S], arguments: Sequence[str], *, environ: Mapping[str, str] | None = None
) -> Loaded[S]:
    """Read *settings* from flags, then the environment, then the file, then defaults.

    Ends the process with status 2 on an unknown flag; raises ``Invalid`` with all findings.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m cellplane.{settings.service}",
        description=settings.__doc__,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="TOML file with settings")
    for name, field in settings.model_fields.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            metavar="VALUE",
            help=(field.description or "").replace("%", "%%"),
        )
    given = vars(parser.parse_args(arguments))
    file = given.pop("config")
    flags = {name: value for name, value in given.items() if value is not None}
    return load(
        settings, flags=flags, environ=os.environ if environ is None else environ, file=file
    )
