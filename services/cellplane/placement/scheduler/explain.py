"""Decisions in sentences that a person understands: lower case, what, why, and the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cellplane.placement.scheduler.filters import Rejection
from cellplane.placement.scheduler.snapshot import Demand

_WORDS = {
    "ORGANIZATION": "belong to another organization",
    "STATE": "have no agent that is there now",
    "CORDONED": "are cordoned",
    "DRAINED": "are drained",
    "LOST": "have been lost for too long",
    "EVICTED": "have a taint that it bore for long enough",
    "PREEMPTED": "are needed by Cells of higher priority",
    "EXCLUDED": "are excluded",
    "SELECTOR": "do not match its selectors",
    "TAINT": "have a taint that it does not tolerate",
    "CAPABILITY": "lack a capability that it needs",
    "REBALANCE": "are fuller than others",
    "TIER": "are in none of its tiers",
    "API": "do not serve an API that it needs",
    "NEAR": "are not near the Cells that it is to be near to",
    "APART": "have Cells that it is to be apart from",
    "CAPACITY": "have too little free",
    "TOPOLOGY": "lack a label that its copies are spread over",
}


def placed(
    demand: Demand,
    chosen: Sequence[str],
    previous: Sequence[str],
    feasible: int,
    total: int,
) -> str:
    """Say where a Cell is to be, and what changed."""
    stays = [name for name in chosen if name in previous]
    comes = [name for name in chosen if name not in previous]
    leaves = [name for name in previous if name not in chosen]
    parts: list[str] = []
    if stays:
        parts.append(f"stays on {_names(stays)}")
    if comes:
        parts.append(f"{'comes to' if previous else 'placed on'} {_names(comes)}")
    if leaves:
        parts.append(f"leaves {_names(leaves)}")
    text = f"{', '.join(parts)}: {feasible} of {total} data planes feasible"
    if demand.stateful and (demand.requirement.copies or 1) > 1:
        text += "; on one only, as its volumes are not replicated"
    return text


def unplaceable(
    reason: str,
    demand: Demand,
    kept: Sequence[str],
    feasible: int,
    total: int,
    rules: Mapping[str, int],
    first: Mapping[str, Rejection],
) -> str:
    """Say why a Cell can't be placed, and what would have to change."""
    where = f"; stays on {_names(kept)}" if kept else ""
    match reason:
        case "VolumesWouldMove":
            return f"its data plane no longer fits, and its volumes can't move{where}"
        case "SpreadImpossible":
            spreads = " and ".join(_rule(demand))
            return (
                f"no {demand.copies} of {feasible} feasible data planes meet {spreads}: "
                f"lower it, or add data planes{where}"
            )
        case "SearchEnded":
            spreads = " and ".join(_rule(demand))
            return (
                f"no {demand.copies} of {feasible} feasible data planes that meet {spreads} were "
                f"found in time: ask for fewer copies, or spread over fewer labels{where}"
            )
        case "DivisionImpossible":
            return (
                f"its replicas cannot be divided over {feasible} feasible data planes, within "
                f"their limits and what they have free: ask for fewer copies, or free some{where}"
            )
        case _:
            return f"{_shortage(demand, feasible, total)}{_counts(rules, first)}{where}"


def _shortage(demand: Demand, feasible: int, total: int) -> str:
    if not total:
        return f"organization {demand.organization} has no data plane: create one, and join it"
    copies = f"{demand.copies} {'copy' if demand.copies == 1 else 'copies'}"
    return f"{feasible} of {total} data planes are feasible for {copies}"


def _counts(rules: Mapping[str, int], first: Mapping[str, Rejection]) -> str:
    """Count the reasons, and show the first plane of each."""
    parts = [
        f"{count} {_WORDS[reason]}{_example(first.get(reason))}"
        for reason, count in sorted(rules.items(), key=lambda c: (-c[1], c[0]))
    ]
    return f": {'; '.join(parts)}" if parts else ""


def _example(one: Rejection | None) -> str:
    return f" ({one.data_plane}: {one.message})" if one is not None else ""


def _rule(demand: Demand) -> list[str]:
    rules: list[str] = []
    for spread in (s for s in demand.requirement.spreads if not s.soft):
        limits = [
            *([f"at least {spread.min_groups} groups"] if spread.min_groups else []),
            *([f"at most {spread.max_groups} groups"] if spread.max_groups else []),
            *([f"a skew of at most {spread.max_skew}"] if spread.max_skew else []),
        ]
        rules.append(f"the spread over {spread.topology_key} ({', '.join(limits) or 'any'})")
    return rules


def _names(names: Sequence[str]) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
    return ", ".join(shown[:5]) + more
