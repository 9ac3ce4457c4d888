"""Whether a component keeps the platform's rules: every finding, with who set the rule.

Where several levels bound the same, the strictest is told, and of equals the wider one: whoever
set it is who can change it. Messages name the value, the rule and the way out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Final

from cellplane.cell.image import has_digest, is_from
from cellplane.cell.problem import Findings, Problem
from cellplane.cell.quantity import bytes_of, milli_of
from cellplane.cell.rules import NO_RULES, OwnedRules, RequiredProbe, ResourceBounds
from cellplane.cell.visibility import Visibility
from cellplane.model.domain.default import RUN_ONCE, default_resources
from cellplane.model.domain.resources import Component, Environment, Organization

_WIDTH: Final = {Visibility.PROJECT: 0, Visibility.ORGANIZATION: 1, Visibility.PUBLIC: 2}
_SIZES: Final = (Fraction(1024**3), "Gi"), (Fraction(1024**2), "Mi"), (Fraction(1024), "Ki")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What is requested at the most replicas: thousandths of a core, bytes, a number, bytes."""

    cpu: Fraction = Fraction(0)
    memory: Fraction = Fraction(0)
    replicas: Fraction = Fraction(0)
    storage: Fraction = Fraction(0)

    def __add__(self, other: Usage) -> Usage:
        """What both request together."""
        return Usage(**{n: getattr(self, n) + getattr(other, n) for n in QUANTITIES})


QUANTITIES: Final = tuple(f.name for f in fields(ResourceBounds))


def in_force(organization: Organization, environment: Environment | None) -> tuple[OwnedRules, ...]:
    """The rules that hold in an environment, or in any; the wider level first."""
    levels = (organization, *(() if environment is None else (environment,)))
    return tuple(
        OwnedRules(owner=level.name, rules=level.rules)
        for level in levels
        if level.rules is not None and level.rules != NO_RULES
    )


def judge(component: Component, levels: Sequence[OwnedRules]) -> list[Problem]:
    """Find every rule that a component, as it is deployed, does not keep."""
    if not levels:
        return []
    findings = Findings(resource=component.name)
    _visibilities(component, levels, findings.at("endpoints"))
    image = component.workload.image
    findings.problems.extend(
        judge_image(image, levels, findings.at("workload").at("image"), component.name)
    )
    _labels(component, levels, findings)
    _probes(component, levels, findings.at("workload"))
    _ceilings(component, levels, findings.at("workload"))
    return findings.problems


def _visibilities(component: Component, levels: Sequence[OwnedRules], at: Findings) -> None:
    bound = min(
        (
            (_WIDTH[level.rules.max_visibility], index)
            for index, level in enumerate(levels)
            if level.rules.max_visibility is not None
        ),
        default=None,
    )
    if bound is None:
        return
    width, index = bound
    widest = next(v for v, own in _WIDTH.items() if own == width)
    for number, endpoint in enumerate(component.endpoints):
        for place, visibility in enumerate(endpoint.visibilities):
            if _WIDTH[visibility] > width:
                at.at(number).at("visibilities").at(place).add(
                    "RULE_MAX_VISIBILITY",
                    f'endpoint "{endpoint.endpoint}" is {visibility.value}, but '
                    f"max_visibility of {levels[index].owner} is {widest.value}: remove "
                    f"{visibility.value} from its visibilities",
                    value=visibility.value,
                )


def judge_image(
    image: str, levels: Sequence[OwnedRules], at: Findings, resource: str
) -> list[Problem]:
    """Find out whether an image may run; *at* is its place."""
    found = Findings(path=at.path, resource=resource)
    for level in levels:
        places = level.rules.image_registries
        if places and not any(is_from(image, place) for place in places):
            found.add(
                "RULE_IMAGE_REGISTRY",
                f'image "{image}" is from nowhere that image_registries of {level.owner} allows: '
                f"push it to {' or '.join(places)}",
                value=image,
            )
    owner = next((x.owner for x in levels if x.rules.image_digest_required), None)
    if owner is not None and not has_digest(image):
        found.add(
            "RULE_IMAGE_DIGEST",
            f'image "{image}" can change without a trace, and image_digest_required of {owner} '
            "is set: name its digest, as in image@sha256:…",
            value=image,
        )
    return found.problems


def _labels(component: Component, levels: Sequence[OwnedRules], at: Findings) -> None:
    told: set[str] = set()
    for level in levels:
        for key in level.rules.required_labels:
            if key not in told and not component.labels.get(key):
                told.add(key)
                at.at(f'labels["{key}"]').add(
                    "RULE_LABEL_MISSING",
                    f'label "{key}" is not set, but is among required_labels of {level.owner}: '
                    f"add `labels: {{{key}: …}}`",
                    value=key,
                )


def _probes(component: Component, levels: Sequence[OwnedRules], at: Findings) -> None:
    if component.component_kind in RUN_ONCE or not component.endpoints:
        return
    workload = component.workload
    there = {
        RequiredProbe.READINESS: ("readiness_probe", workload.readiness_probe),
        RequiredProbe.LIVENESS: ("liveness_probe", workload.liveness_probe),
    }
    for probe, (field, written) in there.items():
        owner = next((x.owner for x in levels if probe in x.rules.required_probes), None)
        if owner is not None and written is None:
            at.at(field).add(
                "RULE_PROBE_MISSING",
                f"{field} is not set, but {probe.value} is among required_probes of {owner}: say "
                "which endpoint tells whether the process works",
            )


def _ceilings(component: Component, levels: Sequence[OwnedRules], at: Findings) -> None:
    resources, workload = component.workload.resources, component.workload
    effective = default_resources(resources)
    own = at.at("resources")
    for quantity, field in (
        ("cpu", "cpu_request"),
        ("cpu", "cpu_limit"),
        ("memory", "memory_request"),
        ("memory", "memory_limit"),
    ):
        _ceiling(quantity, field, getattr(effective, field), levels, own.at(field))
    if workload.autoscaling is not None:
        most, where, field = workload.autoscaling.max_replicas, "autoscaling", "max_replicas"
        _ceiling("replicas", field, str(most), levels, at.at(where).at(field))
    elif workload.replicas is not None:
        _ceiling("replicas", "replicas", str(workload.replicas), levels, at.at("replicas"))
    volumes = [bytes_of(volume.size) for volume in workload.volumes]
    for index, total in enumerate(itertools.accumulate(volumes)):
        place = at.at("volumes").at(index).at("size")
        if _ceiling("storage", "volumes", _text("storage", total), levels, place):
            break


def _ceiling(
    quantity: str, field: str, value: str, levels: Sequence[OwnedRules], at: Findings
) -> bool:
    bound = strictest(quantity, levels, lambda x: x.rules.component_ceiling)
    if not value or bound is None:
        return False
    if _measure(quantity, value) <= bound.amount:
        return False
    what = "volumes need" if quantity == "storage" else f"{field} is"
    at.add(
        "RULE_CEILING",
        f"{what} {value}, but component_ceiling.{quantity} of {bound.owner} is {bound.text}: "
        f"ask for {bound.text} at most",
        value=value,
    )
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The strictest bound of a quantity, as it is written, and whose it is."""

    amount: Fraction
    text: str
    owner: str


def strictest(
    quantity: str,
    levels: Iterable[OwnedRules],
    of: Callable[[OwnedRules], ResourceBounds | None],
) -> Bound | None:
    """The least that any level bounds a quantity to."""
    found: Bound | None = None
    for level in levels:
        text = str(getattr(of(level) or ResourceBounds(), quantity) or "")
        if text and (found is None or _measure(quantity, text) < found.amount):
            found = Bound(amount=_measure(quantity, text), text=text, owner=level.owner)
    return found


def _measure(quantity: str, text: str) -> Fraction:
    match quantity:
        case "cpu":
            return milli_of(text)
        case "replicas":
            return Fraction(int(text))
        case _:
            return bytes_of(text)


def usage_of(component: Component) -> Usage:
    """What a component requests at the most replicas that it can have."""
    workload = component.workload
    replicas = 1
    if workload.autoscaling is not None:
        replicas = workload.autoscaling.max_replicas
    elif workload.replicas is not None:
        replicas = workload.replicas
    resources = default_resources(workload.resources)
    storage = sum((bytes_of(v.size) for v in workload.volumes), Fraction(0))
    return Usage(
        cpu=milli_of(resources.cpu_request) * replicas,
        memory=bytes_of(resources.memory_request) * replicas,
        replicas=Fraction(replicas),
        storage=storage * replicas,
    )


_FIELDS: Final = {
    "cpu": "workload.resources.cpu_request",
    "memory": "workload.resources.memory_request",
    "replicas": "workload.replicas",
    "storage": "workload.volumes",
}


def judge_cell(cell: str, usage: Usage, levels: Sequence[OwnedRules]) -> list[Problem]:
    """Find what all components of a Cell together have too much of; ``field`` is a component's."""
    return list(_quotas(cell, usage, levels))


def _quotas(cell: str, usage: Usage, levels: Sequence[OwnedRules]) -> Iterator[Problem]:
    for quantity in QUANTITIES:
        bound = strictest(quantity, levels, lambda x: x.rules.cell_quota)
        amount: Fraction = getattr(usage, quantity)
        if bound is not None and amount > bound.amount:
            text = _text(quantity, amount)
            yield Problem(
                reason="RULE_QUOTA",
                field=_FIELDS[quantity],
                resource=cell,
                value=text,
                message=f"the components of {cell} together would have {text} {quantity}, but "
                f"cell_quota.{quantity} of {bound.owner} is {bound.text}: ask for less, or remove "
                "a component",
            )


def _text(quantity: str, amount: Fraction) -> str:
    if quantity == "cpu":
        whole = amount / 1000
        return str(whole) if whole.denominator == 1 else f"{float(amount):g}m"
    if quantity != "replicas":
        for size, unit in _SIZES:
            if amount >= size and (amount / size * 1000).denominator == 1:
                return f"{float(amount / size):g}{unit}"
    return f"{float(amount):.0f}"
