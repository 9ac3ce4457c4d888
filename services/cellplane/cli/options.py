"""Options that many commands share, each written once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from cellplane.cli import completion


class Format(StrEnum):
    """How resources are written."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


Organization: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--organization",
        "--org",
        envvar="CELLPLANE_ORGANIZATION",
        help="Organization that names are relative to. Default: the profile's.",
        show_envvar=False,
    ),
]
Profile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        envvar="CELLPLANE_PROFILE",
        help="File with addresses and certificates. Default: the one that `cellplane up` wrote.",
        show_envvar=False,
    ),
]
Files: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--filename", "-f", help="YAML file, folder, or - for standard input. Repeatable."
    ),
]
Output: TypeAlias = Annotated[
    Format, typer.Option("--output", "-o", help="How to write what is found.")
]
KindName: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="Kind, such as component; `explain` lists them. Or both: component/boutique/cart.",
        autocompletion=completion.kinds,
    ),
]
Name: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        help="Name: full, or its ids, such as boutique/cart.", autocompletion=completion.names
    ),
]
