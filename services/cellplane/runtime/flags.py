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

from cellplane.runtime.config import Examined, Loaded, Settings, examine, load

S = TypeVar("S", bound=Settings)


def load_from(
    settings: type[S], arguments: Sequence[str], *, environ: Mapping[str, str] | None = None
) -> Loaded[S]:
    """Read *settings* from flags, then the environment, then the file, then defaults.

    Ends the process with status 2 on what is no flag; raises ``Invalid`` with all findings.
    """
    flags, file = _read(settings, arguments)
    return load(settings, flags=flags, environ=_environ(environ), file=file)


def examine_from(
    settings: type[S], arguments: Sequence[str], *, environ: Mapping[str, str] | None = None
) -> Examined[S]:
    """Read *settings* as ``load_from`` does; what is wrong is part of the answer."""
    flags, file = _read(settings, arguments)
    return examine(settings, flags=flags, environ=_environ(environ), file=file)


def parser(settings: type[Settings]) -> argparse.ArgumentParser:
    """The flags of a process, with what they mean."""
    made = argparse.ArgumentParser(
        prog=f"python -m cellplane.{settings.service}",
        usage="%(prog)s [--config FILE] [--SETTING VALUE]...",
        description=settings.__doc__,
        allow_abbrev=False,
    )
    made.add_argument("--config", metavar="FILE", type=Path, help="TOML file with settings")
    for name, field in settings.model_fields.items():
        made.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            metavar="VALUE",
            help=(field.description or "").replace("%", "%%"),
        )
    return made


def _read(settings: type[Settings], arguments: Sequence[str]) -> tuple[dict[str, str], Path | None]:
    flags = parser(settings)
    given, others = flags.parse_known_args(arguments)
    values = {name: value for name, value in vars(given).items() if value is not None}
    file = values.pop("config", None)
    unknown = ""
    for word in others:
        if word.startswith("--"):
            # It is told with everything else that is wrong, and with the flag that is close.
            unknown, _, value = word.partition("=")
            values[unknown] = value
        elif not unknown or values[unknown]:
            flags.error(f'"{word}" is no flag: settings are given as --SETTING VALUE')
        else:
            values[unknown] = word
    return values, file


def _environ(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    return os.environ if environ is None else environ
