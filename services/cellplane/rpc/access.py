"""Who may call what: read once from the contracts, checked before a request is looked at.

Every method of ours declares ``(cellplane.api.type.v1.access)``. A server that has one without it
doesn't start. The kind of caller is decided by its certificate, a user's permissions by ``Roles``:
each is given everywhere, or for resources and what is below them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from cellplane.api.type.v1 import access_pb2
from cellplane.cell.problem import FailedPrecondition, PermissionDenied, Unauthenticated
from cellplane.rpc.identity import CallerKind, Principal

EXEMPT = frozenset(
    {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "grpc.channelz.v1.Channelz",
    }
)
"""Standard services that carry no access option of ours: open to whoever reaches the port."""

_OPERATIONS = "google.longrunning.Operations"
_OPERATION_VERBS: Mapping[str, str] = {
    "GetOperation": "get",
    "ListOperations": "list",
    "WaitOperation": "get",
    "CancelOperation": "cancel",
    "DeleteOperation": "delete",
}
"""A contract of Google's, which has no option of ours: its permissions stand here."""

_KINDS: Mapping[int, CallerKind] = {
    access_pb2.CALLER_KIND_USER: CallerKind.USER,
    access_pb2.CALLER_KIND_SERVICE: CallerKind.SERVICE,
    access_pb2.CALLER_KIND_AGENT: CallerKind.AGENT,
    access_pb2.CALLER_KIND_ANYONE: CallerKind.ANYONE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """What one method asks of its caller."""

    method: str
    """Full name, ``package.Service/Method``."""
    permission: str
    callers: frozenset[CallerKind]
    resource_field: str = ""
    """Where the request names the resource; empty where fields of the usual names do."""
    verbs: tuple[str, ...] = ()
    """What must be allowed beside it, of the kind of each resource."""


OPEN = AccessRule(method="", permission="", callers=frozenset({CallerKind.ANYONE}))


EVERYWHERE: Final = ("",)
"""The scopes of a permission that holds for every resource."""


class Roles(Protocol):
    """Which permissions a user has, and for what."""

    def scopes(self, principal: Principal, permission: str) -> tuple[str, ...]:
        """The resources for which the user has it, each with all below; ``EVERYWHERE`` for all."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleTable:
    """Permissions by user name, for every resource; ``*`` is every permission."""

    grants: Mapping[str, frozenset[str]] = field(
        default_factory=lambda: {"admin": frozenset({"*"})}
    )

    def scopes(self, principal: Principal, permission: str) -> tuple[str, ...]:
        """Everywhere, or nowhere."""
        granted = self.grants.get(principal.name, frozenset())
        return EVERYWHERE if "*" in granted or permission in granted else ()


def rule_of(method: MethodDescriptor) -> AccessRule | None:
    """The access rule that a method declares; ``None`` when it declares none that holds."""
    name = f"{method.containing_service.full_name}/{method.name}"
    if method.containing_service.full_name == _OPERATIONS:
        return AccessRule(
            method=name,
            permission=f"operations.{_OPERATION_VERBS[method.name]}",
            callers=frozenset({CallerKind.USER, CallerKind.SERVICE}),
        )
    options = method.GetOptions()
    if not options.HasExtension(access_pb2.access):
        return None
    access = options.Extensions[access_pb2.access]
    callers = frozenset(_KINDS[kind] for kind in access.callers if kind in _KINDS)
    if not callers or len(callers) != len(access.callers):
        return None
    if not access.permission and callers != {CallerKind.ANYONE}:
        return None
    return AccessRule(
        method=name,
        permission=access.permission,
        callers=callers,
        resource_field=access.resource_field,
        verbs=tuple(access.verbs),
    )


def read_rules(services: Iterable[ServiceDescriptor]) -> dict[str, AccessRule]:
    """Rules by path (``/package.Service/Method``) of every method of the given services.

    Raises ``FailedPrecondition`` that lists every method without a valid rule.
    """
    rules: dict[str, AccessRule] = {}
    missing: list[str] = []
    for service in services:
        for method in service.methods:
            path = f"/{service.full_name}/{method.name}"
            rule = OPEN if service.full_name in EXEMPT else rule_of(method)
            if rule is None:
                missing.append(path[1:])
            else:
                rules[path] = rule
    if missing:
        raise FailedPrecondition(
            f"methods without a valid access option: {', '.join(sorted(missing))}: "
            "declare a permission and its callers in the contract",
            reason="ACCESS_UNDECLARED",
            metadata={"methods": ",".join(sorted(missing))},
        )
    return rules


def check(rule: AccessRule, principal: Principal, roles: Roles) -> None:
    """Return when the caller may call; raise ``Unauthenticated`` or ``PermissionDenied``."""
    if CallerKind.ANYONE in rule.callers:
        return
    if principal.kind is CallerKind.ANYONE:
        raise Unauthenticated(
            f"{rule.method} needs a client certificate: none was shown",
            reason="CERTIFICATE_REQUIRED",
            metadata={"method": rule.method},
        )
    if principal.kind not in rule.callers:
        allowed = ", ".join(sorted(kind.value.lower() for kind in rule.callers))
        raise PermissionDenied(
            f"{principal.kind.value.lower()} {principal.name} may not call {rule.method}: "
            f"it is for {allowed}",
            reason="CALLER_KIND_DENIED",
            metadata={"method": rule.method, "caller_kind": principal.kind.value},
        )
    if principal.kind is CallerKind.USER and not roles.scopes(principal, rule.permission):
        raise PermissionDenied(
            f"user {principal.name} lacks permission {rule.permission}: "
            "ask an administrator for a role that grants it",
            metadata={"permission": rule.permission, "principal": principal.name},
        )
