"""Who may do what, for which resources: a file of an operator's, taken as it changes.

::

    [roles]
    developer = ["components.*", "*.get", "*.list", "resources.*", "deletions.*"]

    [[bindings]]
    users = ["ann", "bob"]
    role = "developer"
    resources = ["organizations/acme/projects/boutique"]

A binding without ``resources`` holds for all of them. Nothing holds beside what the file says. A
file that cannot be read or understood changes nothing: what held before goes on, with a warning.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from cellplane.cell.problem import Findings, Invalid
from cellplane.rpc.access import EVERYWHERE
from cellplane.rpc.identity import Principal

_LOOK_SECONDS: Final = 1.0
_ANY: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What users may do, and with which resources."""

    users: frozenset[str]
    permissions: tuple[str, ...]
    """``components.get``; either part can be ``*``, and ``*`` alone is every permission."""
    resources: tuple[str, ...] = EVERYWHERE

    def grants(self, permission: str) -> bool:
        """Whether it is about a permission."""
        collection, _, verb = permission.partition(".")
        return any(
            own == _ANY or own in (permission, f"{collection}.*", f"*.{verb}")
            for own in self.permissions
        )


class RoleFile:
    """The roles that a file gives, as it is now."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ``Invalid`` with all that is wrong with the file."""
        self._path = path
        self._clock = clock
        self._seen = self._stamp()
        self._bindings = read(path)
        self._known: dict[tuple[str, str], tuple[str, ...]] = {}
        self._looked = clock()

    def scopes(self, principal: Principal, permission: str) -> tuple[str, ...]:
        """The resources for which a user has a permission."""
        self._look()
        key = (principal.name, permission)
        found = self._known.get(key)
        if found is None:
            given = {
                resource
                for binding in self._bindings
                if principal.name in binding.users and binding.grants(permission)
                for resource in binding.resources
            }
            found = EVERYWHERE if "" in given else tuple(sorted(given))
            self._known[key] = found
        return found

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        log = structlog.get_logger()
        try:
            self._bindings = read(self._path)
        except Invalid as error:
            log.warning("roles.reload_failed", file=str(self._path), error=error.message)
            return
        self._known.clear()
        log.info("roles.reloaded", file=str(self._path))

    def _stamp(self) -> tuple[int, int, int]:
        try:
            stat = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def read(path: Path) -> tuple[Binding, ...]:
    """Read a file of roles; raises ``Invalid`` with everything that is wrong with it."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Invalid(f"roles file {path} can't be read: {error}", reason="ROLES_FILE") from error
    findings = Findings()
    for key in sorted(set(document) - {"roles", "bindings"}):
        findings.at(key).add("UNKNOWN", "is not a part of a roles file: write roles or bindings")
    roles = {
        name: _texts(value, findings.at("roles").at(name))
        for name, value in _mapping(document.get("roles", {}), findings.at("roles")).items()
    }
    bindings = tuple(_bindings(document.get("bindings", []), roles, findings.at("bindings")))
    if findings.problems:
        first = findings.problems[0]
        raise Invalid(
            f"roles file {path}: {first.field} {first.message}",
            problems=findings.problems,
            reason="ROLES_FILE",
        )
    return bindings


def _bindings(
    value: object, roles: Mapping[str, Sequence[str]], findings: Findings
) -> Iterator[Binding]:
    if not isinstance(value, list):
        findings.add("NO_LIST", "is no list: write [[bindings]]")
        return
    for index, one in enumerate(value):
        at = findings.at(index)
        known = _mapping(one, at)
        for key in sorted(set(known) - {"users", "role", "permissions", "resources"}):
            at.at(key).add("UNKNOWN", "is not a part of a binding")
        permissions = _texts(known.get("permissions", []), at.at("permissions"))
        role = known.get("role", "")
        if role and role not in roles:
            at.at("role").add("UNKNOWN", f'"{role}" is no role of this file', value=str(role))
        permissions = (*permissions, *roles.get(str(role), ()))
        if not permissions and not role:
            at.add("EMPTY", "gives nothing: name a role, or permissions")
        resources: tuple[str, ...] = EVERYWHERE
        if "resources" in known:
            resources = _texts(known["resources"], at.at("resources"))
            for number, name in enumerate(resources):
                if not name.startswith("organizations/") or len(name.split("/")) % 2:
                    at.at("resources").at(number).add(
                        "NAME_INVALID",
                        f'"{name}" is no resource: write one such as organizations/acme',
                        value=name,
                    )
        yield Binding(
            users=frozenset(_texts(known.get("users", []), at.at("users"))),
            permissions=permissions,
            resources=resources,
        )


def _mapping(value: object, findings: Findings) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    findings.add("NO_TABLE", "is no table")
    return {}


def _texts(value: object, findings: Findings) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(one, str) and one for one in value):
        return tuple(value)
    findings.add("NO_TEXTS", "is no list of texts that are not empty")
    return ()
