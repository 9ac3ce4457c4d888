"""The environment of a process: literal values stay literal.

Kubernetes expands ``$(NAME)`` and reduces ``$$`` to ``$`` in values, commands and arguments, so
every ``$`` of a user is doubled. Only what this module writes itself may be expanded, and what it
refers to stands before it. A variable of the user beats one of the telemetry's ConfigMap.
"""

from __future__ import annotations

from typing import Any, Final

from cellplane.cell import addresses
from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.workload import EnvironmentVariable

DOWNWARD: Final = (
    ("CELLPLANE_NAMESPACE", "metadata.namespace"),
    ("CELLPLANE_NODE", "spec.nodeName"),
    ("CELLPLANE_POD", "metadata.name"),
)
"""Variables that tell a process where it runs, and the field that each is read from."""

_ATTRIBUTES: Final = "OTEL_RESOURCE_ATTRIBUTES"
_EXTENDED: Final = (
    f"$({_ATTRIBUTES}),k8s.namespace.name=$(CELLPLANE_NAMESPACE)"
    ",k8s.node.name=$(CELLPLANE_NODE),k8s.pod.name=$(CELLPLANE_POD)"
)
"""The ConfigMap's attributes, which envFrom has set by then, and those of this one pod."""


def literal(text: str) -> str:
    """Write *text* so that Kubernetes' expansion gives it back unchanged."""
    return text.replace("$", "$$")


def injected(cell: ResolvedCell, component: ResolvedComponent) -> list[tuple[str, str]]:
    """Variables through which a component learns the addresses of its connections."""
    found: list[tuple[str, str]] = []
    for connection in component.connections:
        address = addresses.connection_address(cell.frame, component.component, connection)
        inject = connection.inject
        pairs = (
            (inject.address, address.authority),
            (inject.url, address.url),
            (inject.host, address.host),
            (inject.port, str(address.port)),
        )
        found.extend((name, value) for name, value in pairs if name)
    return found


def read(component: ResolvedComponent) -> list[tuple[str, str, str]]:
    """Variables that get outputs of managed resources, with the Secret and the key of each."""
    return [
        (name, addresses.outputs_secret(connection.cell.component), output)
        for connection in component.connections
        if connection.cell is not None
        for name, output in sorted(connection.inject.outputs.items())
    ]


def environment_names(cell: ResolvedCell, component: ResolvedComponent) -> list[str]:
    """Names of all variables that the user chose, with repetitions."""
    return [
        *(variable.name for variable in component.workload.env),
        *(name for name, _ in injected(cell, component)),
        *(name for name, _, _ in read(component)),
    ]


def environment(cell: ResolvedCell, component: ResolvedComponent) -> list[dict[str, Any]]:
    """Compile ``env``: the platform's own first, then the user's by name."""
    fields = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in DOWNWARD
    ]
    chosen = [_variable(component, variable) for variable in component.workload.env]
    chosen.extend(_value(name, value) for name, value in injected(cell, component))
    chosen.extend(
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for name, secret, key in read(component)
    )
    if all(entry["name"] != _ATTRIBUTES for entry in chosen):
        fields.append({"name": _ATTRIBUTES, "value": _EXTENDED})
    return [*fields, *sorted(chosen, key=lambda entry: str(entry["name"]))]


def _variable(component: ResolvedComponent, variable: EnvironmentVariable) -> dict[str, Any]:
    own = variable.secret_reference_key
    if own is not None:
        secret = addresses.secret_name(component.component, own.secret_reference)
        reference = {"name": secret, "key": own.key}
    elif variable.secret_key is not None:
        reference = {"name": variable.secret_key.secret, "key": variable.secret_key.key}
    else:
        return _value(variable.name, variable.value)
    return {"name": variable.name, "valueFrom": {"secretKeyRef": reference}}


def _value(name: str, value: str) -> dict[str, Any]:
    # A cluster does not store an empty value: written, it would look like drift for ever.
    return {"name": name, "value": literal(value)} if value else {"name": name}
