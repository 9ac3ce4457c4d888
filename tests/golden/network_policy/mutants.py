"""Every policy of a scene with one thing dropped from it, or one thing widened."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.golden.network_policy import world

_SECTIONS = ("ingress", "egress", "ingressDeny", "egressDeny")
Objects = tuple[Mapping[str, Any], ...]


def of(scene: world.Scene) -> Iterator[tuple[str, Objects]]:
    """Every mutant of a scene's objects, by a name for it."""
    for index, body in enumerate(scene.objects):
        name = body["metadata"]["name"]
        yield name, tuple(o for i, o in enumerate(scene.objects) if i != index)
        changes = [
            *((path, _cut) for path in _paths(scene, body)),
            *_widened(body["spec"], ("spec",)),
        ]
        for path, change in changes:
            mutant = copy.deepcopy(dict(body))
            change(mutant, path)
            where = "/".join(str(step) for step in path)
            yield (
                f"{name}: {change.__name__.strip('_')} {where}",
                tuple(mutant if i == index else o for i, o in enumerate(scene.objects)),
            )


Path = tuple[str | int, ...]
Change = Callable[[Any, Path], None]


def _widened(value: Any, at: Path) -> Iterator[tuple[Path, Change]]:
    """Ports made ranges, transports any, names every name and blocks the whole address space."""
    denying = any(str(step).endswith("Deny") for step in at)
    match value:
        case {"port": _} if not denying:
            if "endPort" not in value:
                yield at, _up_to_the_last_port
            if "toPorts" in at and not _dns(at, value):
                yield at, _any_transport
        case {"matchName": _}:
            yield at, _every_name
        case {"cidr": _}:
            yield at, _every_address
        case Mapping():
            # What is denied beside it closes the rest of the own node.
            of_own_node = value.get("fromEntities") == ["host"]
            for key, below in value.items() if not of_own_node else ():
                yield from _widened(below, (*at, key))
        case list():
            for index, below in enumerate(value):
                yield from _widened(below, (*at, index))
        case str() if at[-2:-1] in {("toCIDR",), ("fromCIDR",)}:
            yield at, _every_block
        case _:
            pass


def _dns(at: Path, port: Mapping[str, Any]) -> bool:
    # Its two transports are beside each other already.
    return "egress" in at and port["port"] == "53"


def _up_to_the_last_port(body: Any, path: Path) -> None:
    _at(body, path)["endPort"] = 65535


def _any_transport(body: Any, path: Path) -> None:
    _at(body, path)["protocol"] = "ANY"


def _every_name(body: Any, path: Path) -> None:
    found = _at(body, path)
    found.clear()
    found["matchPattern"] = "*"


def _every_address(body: Any, path: Path) -> None:
    found = _at(body, path)
    found["cidr"] = _whole(found["cidr"])


def _every_block(body: Any, path: Path) -> None:
    blocks = _at(body, path[:-1])
    blocks[path[-1]] = _whole(blocks[path[-1]])


def _whole(block: str) -> str:
    return "::/0" if ":" in block else "0.0.0.0/0"


def _at(body: Any, path: Path) -> Any:
    for step in path:
        body = body[step]
    return body


def _paths(scene: world.Scene, body: Mapping[str, Any]) -> Iterator[tuple[str | int, ...]]:
    """Everything that a mutation can take away from one policy."""
    spec = body["spec"]
    for selector in ("endpointSelector", "podSelector"):
        yield from _labels(scene, spec.get(selector, {}), ("spec", selector))
    for i, direction in enumerate(spec.get("policyTypes", ())):
        # Where a policy has no rules for a direction, the guard closes it as well.
        if direction.lower() in spec or not spec["podSelector"]:
            yield ("spec", "policyTypes", i)
    for section in _SECTIONS:
        for i, rule in enumerate(spec.get(section, ())):
            at: tuple[str | int, ...] = ("spec", section, i)
            yield at
            yield from _of_rule(scene, rule, at)


def _of_rule(
    scene: world.Scene, rule: Mapping[str, Any], at: tuple[str | int, ...]
) -> Iterator[tuple[str | int, ...]]:
    # The denial beside this allowance closes every other port of the own node.
    of_own_node = at[1] == "ingress" and rule.get("fromEntities") == ["host"]
    for key, value in rule.items():
        if of_own_node and key == "toPorts":
            yield from ((*at, key, 0, "ports", j) for j in range(len(value[0]["ports"])))
            continue
        if key in {"ports", "toPorts"}:
            yield (*at, key)
        for i, item in enumerate(value):
            yield (*at, key, i)
            if not isinstance(item, Mapping):
                continue
            for inner in ("podSelector", "namespaceSelector"):
                yield from _labels(scene, item.get(inner, {}), (*at, key, i, inner))
            yield from _labels(scene, item, (*at, key, i))
            if key == "toPorts":
                yield from ((*at, key, i, "ports", j) for j in range(len(item["ports"])))
                for parser, names in item.get("rules", {}).items():
                    yield (*at, key, i, "rules")
                    yield from ((*at, key, i, "rules", parser, j) for j in range(len(names)))


def _labels(
    scene: world.Scene, selector: Mapping[str, Any], at: tuple[str | int, ...]
) -> Iterator[tuple[str | int, ...]]:
    for label, value in selector.get("matchLabels", {}).items():
        # Cilium adds the policy's own namespace where none is named: without it, it says the same.
        if value != scene.namespace:
            yield (*at, "matchLabels", label)
    yield from (
        (*at, "matchExpressions", i) for i in range(len(selector.get("matchExpressions", ())))
    )


def _cut(body: Any, path: tuple[str | int, ...]) -> None:
    for step in path[:-1]:
        body = body[step]
    del body[path[-1]]
