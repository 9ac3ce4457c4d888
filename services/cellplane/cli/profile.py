"""Where the services are, and who calls: read from a profile that ``cellplane up`` writes.

A profile is a TOML file: ``organization``, ``[tls]`` with ``ca``, ``cert``, ``key``, and
``[services]`` with an address for each.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cellplane.cli.exits import Ended
from cellplane.cli.local.layout import SERVICES, find_state

FILE_NAME: Final = "client.toml"
_WAY_OUT: Final = (
    "start a control plane with `cellplane up`, or name a profile with --profile or "
    "CELLPLANE_PROFILE"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How to reach one control plane."""

    organization: str
    services: Mapping[str, str]
    """Address of each service: ``host:port``."""
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def address(self, service: str) -> str:
        """Where a service is; ends the command where the profile does not know it."""
        address = self.services.get(service)
        if not address:
            raise Ended(
                message=f'the profile has no address of service "{service}": add it to [services]'
            )
        return address


def load(path: Path | None, organization: str | None) -> Profile:
    """Read the profile; *organization* replaces its own.

    Args:
        path: The file; without it, the one of the state that is found as ``find_state`` says.
        organization: Id of an organization, if the caller chose one.
    """
    file = path or _find()
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Ended(message=f"profile {file} does not exist: {_WAY_OUT}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Ended(message=f"profile {file} is not TOML: {error}") from error
    return _read(data, file, organization)


def organization_of(path: Path | None, organization: str | None, default: str) -> str:
    """The organization that names are relative to, where no service is needed."""
    if organization:
        return organization
    state = find_state(Path.cwd())
    file = path or (state / FILE_NAME if state else None)
    if file is None or not file.is_file():
        return default
    return load(file, None).organization


def _find() -> Path:
    state = find_state(Path.cwd())
    if state is None:
        raise Ended(message=f"no control plane is known here: {_WAY_OUT}")
    return state / FILE_NAME


def _read(data: Mapping[str, Any], file: Path, organization: str | None) -> Profile:
    wrong = [
        f'"{key}" is not a table'
        for key in ("tls", "services")
        if not isinstance(data.get(key, {}), dict)
    ]
    wrong += [
        f'"{key}" is unknown' for key in data if key not in ("organization", "tls", "services")
    ]
    if not wrong:
        services = data.get("services", {})
        wrong += [
            f'"services.{key}" is unknown: services are {", ".join(SERVICES)}'
            for key in services
            if key not in SERVICES
        ]
    if wrong:
        raise Ended(message=f"profile {file} is not right", findings=wrong)
    tls = data.get("tls", {})
    files = {
        key: file.parent / str(tls[key]) if key in tls else None for key in ("ca", "cert", "key")
    }
    return Profile(
        organization=organization or str(data.get("organization", "")),
        services={key: str(value) for key, value in data.get("services", {}).items()},
        **files,
    )
