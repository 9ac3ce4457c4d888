"""What of the resources that a call is about its user may touch and see.

A permission that is given for a resource holds for that and for all below it. It is decided by
names alone, before anything is validated or looked up, so that who may not see a resource hears the
same of one that exists and of one that does not (AIP-211). A list that is wider than what may be
seen answers what may be, in pages that can be short (AIP-158); so does a watch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from google.api import field_behavior_pb2, resource_pb2
from google.protobuf import any_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message

from cellplane.cell.problem import AlreadyExists, NotFound, PermissionDenied
from cellplane.rpc.access import EVERYWHERE, AccessRule, Roles
from cellplane.rpc.identity import CallerKind, Principal

_ACROSS: Final = "-"
_PLAIN: Final = ("name", "names", "parent")
_ANY: Final = "google.protobuf.Any"
_CHANGE: Final = "cellplane.api.type.v1.Change"
_HISTORY: Final = "resourceChanges"
_READ_ALL: Final = "*.get"
_SIDES: Final[Mapping[str, str]] = MappingProxyType({"AccessGrant": "consumer"})
"""Kinds that are two parties' business: the field that names the other one, which may read them."""


def covers(scopes: Sequence[str], resource: str) -> bool:
    """Whether a resource is one of *scopes*, or below one."""
    return any(not s or resource == s or resource.startswith(f"{s}/") for s in scopes)


def meets(scopes: Sequence[str], pattern: str) -> bool:
    """Whether anything at or below *pattern*, with ``-`` for any id, can be in *scopes*."""
    wanted = pattern.split("/") if pattern else []
    return any(
        all(
            a in (b, _ACROSS)
            for a, b in zip(wanted, scope.split("/") if scope else (), strict=False)
        )
        for scope in scopes
    )


def collection_of(name: str) -> str:
    """The collection that a name is in, which permissions of its kind begin with."""
    parts = name.split("/")
    return parts[-2] if len(parts) > 1 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """Which resources the requests of one method are about, and which its answers tell of."""

    rule: AccessRule
    fields: tuple[str, ...]
    """Paths in a request to names of resources, to resources, or to many of either."""
    creates: bool
    """Whether a request can ask for what is missing to be made."""
    listed: str
    """The field of the answer that holds resources of a list; empty if it is none."""
    changes: bool
    """Whether answers tell of changes."""
    answer: type[Message]
    side: str
    """The field of the one resource that is answered that names whoever may read it, too."""

    def admit(self, request: Any, principal: Principal, roles: Roles) -> View | None:
        """Return when a user may ask for it; a view where answers are to be narrowed.

        Raises ``PermissionDenied``.
        """
        rule = self.rule
        if CallerKind.ANYONE in rule.callers:
            return None
        scopes = roles.scopes(principal, rule.permission)
        wide = bool(self.listed) or self.changes
        # Who may read everything needs no look at each row.
        sees_all = not wide or roles.scopes(principal, _READ_ALL) == EVERYWHERE
        if scopes == EVERYWHERE and sees_all and not rule.verbs and not self.creates:
            return None
        names = [name for path in self.fields for name in _at(request, path)]
        view = View(subjects=self, principal=principal, roles=roles)
        for permission, name in self._needed(names, request):
            own = roles.scopes(principal, permission)
            if covers(own, name) or (wide and meets(own, name)):
                continue
            if self.side and permission == rule.permission:
                view = View(subjects=self, principal=principal, roles=roles, late=name)
                continue
            raise denied(permission, name, principal)
        if not names and not wide and scopes != EVERYWHERE:
            raise denied(rule.permission, "", principal)
        return view if wide or view.late else None

    def _needed(self, names: Sequence[str], request: Any) -> Iterator[tuple[str, str]]:
        for name in names:
            yield self.rule.permission, name
            for verb in self.rule.verbs:
                yield f"{collection_of(name)}.{verb}", name
            if self.creates and request.allow_missing:
                yield f"{collection_of(name)}.create", name


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What of the answers of one call its user may see."""

    subjects: Subjects
    principal: Principal
    roles: Roles
    late: str = ""
    """A resource that only its other party may read: it is known once it is read."""

    def narrow(self, answer: Any) -> Any | None:
        """The answer without what may not be seen; ``None`` if nothing is left of it."""
        message: Any = self.subjects.answer.FromString(answer) if type(answer) is bytes else answer
        if self.late:
            permission = self.subjects.rule.permission
            own = self.roles.scopes(self.principal, permission)
            if not covers(own, getattr(message, self.subjects.side)):
                raise denied(permission, self.late, self.principal)
            return answer
        if self.subjects.changes:
            name = message.change.resource_name
            return answer if not name or self._sees(name) else None
        field = getattr(message, self.subjects.listed)
        kept = [one for one in field if self._sees(one.name, one)]
        if len(kept) < len(field):
            del field[:]
            field.extend(kept)
            return message
        return answer

    def _sees(self, name: str, message: Any = None) -> bool:
        resource, mark, _ = name.rpartition(f"/{_HISTORY}/")
        if mark and not self._may(resource, resource):
            return False
        if self._may(name, name):
            return True
        side = _SIDES.get(message.DESCRIPTOR.name) if message is not None else None
        return side is not None and self._may(name, getattr(message, side))

    def _may(self, kind: str, name: str) -> bool:
        return covers(self.roles.scopes(self.principal, f"{collection_of(kind)}.get"), name)


def hidden(
    error: BaseException, principal: Principal, roles: Roles, view: View | None
) -> BaseException:
    """A failure as it is told to somebody who may not know what exists (AIP-133, AIP-211)."""
    if isinstance(error, NotFound) and view is not None and view.late:
        return denied(view.subjects.rule.permission, view.late, principal)
    if not isinstance(error, AlreadyExists):
        return error
    name = error.metadata.get("name", "")
    permission = f"{collection_of(name)}.get"
    if covers(roles.scopes(principal, permission), name):
        return error
    return denied(permission, name, principal)


def denied(permission: str, resource: str, principal: Principal) -> PermissionDenied:
    """The one answer for what may not be touched, be it there or not (AIP-193, AIP-211)."""
    where = f" on resource '{resource}' (or it might not exist)" if resource else " on everything"
    return PermissionDenied(
        f"Permission '{permission}' denied{where}: ask an administrator for a role that grants it",
        metadata={"permission": permission, "resource": resource, "principal": principal.name},
    )


def subjects_of(method: MethodDescriptor, rule: AccessRule) -> Subjects:
    """Read from a contract which resources its messages are about."""
    asked, answered = method.input_type, method.output_type
    batch = method.name.startswith("BatchGet")
    update = method.name.startswith("Update")
    listed = "" if batch or method.server_streaming else _listed(answered)
    change = answered.fields_by_name.get("change")
    return Subjects(
        rule=rule,
        fields=tuple(_fields(rule, asked, batch=batch, update=update)),
        creates=update and "allow_missing" in asked.fields_by_name,
        listed=listed,
        changes=change is not None
        and change.message_type is not None
        and change.message_type.full_name == _CHANGE,
        answer=message_factory.GetMessageClass(answered),
        side=_SIDES.get(answered.name, "") if method.name.startswith("Get") else "",
    )


def _listed(answered: Descriptor) -> str:
    first = answered.fields_by_number.get(1)
    if first is None or not first.is_repeated or first.message_type is None:
        return ""
    return str(first.name) if _is_resource(first.message_type) else ""


def _fields(rule: AccessRule, asked: Descriptor, *, batch: bool, update: bool) -> Iterator[str]:
    if rule.resource_field:
        yield rule.resource_field
        return
    for field in asked.fields:
        if update:
            message = field.message_type
            if message is not None and _is_resource(message):
                yield f"{field.name}.name"
        # The parent of a batch says no more than the names in it.
        elif _is_subject(field) and not (batch and field.name == "parent"):
            yield str(field.name)


def _is_resource(message: Descriptor) -> bool:
    return bool(message.GetOptions().Extensions[resource_pb2.resource].type)


def _is_subject(field: FieldDescriptor) -> bool:
    if field.type != FieldDescriptor.TYPE_STRING:
        return False
    if field.name in _PLAIN:
        return True
    options = field.GetOptions()
    reference = options.Extensions[resource_pb2.resource_reference]
    required = field_behavior_pb2.REQUIRED in options.Extensions[field_behavior_pb2.field_behavior]
    return bool(reference.type) and (required or field.containing_oneof is not None)


def _at(message: Any, path: str) -> Iterator[str]:
    """Names of resources at a path."""
    for step in path.split("."):
        message = getattr(message, step)
    if isinstance(message, str):
        if message:
            yield message
    else:
        for one in message:
            yield from (one,) if isinstance(one, str) else _packed(one)


def _packed(box: any_pb2.Any) -> Iterator[str]:
    """The name of a resource that comes packed; what cannot be read is refused later, for all."""
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(box.TypeName())
        message: Any = message_factory.GetMessageClass(descriptor).FromString(box.value)
    except (KeyError, DecodeError):
        return
    yield getattr(message, "name", "")
