"""Random worlds: small ones, with every kind of rule in them."""

from __future__ import annotations

from hypothesis import strategies as st

from cellplane.cell.plane import CERT_MANAGER, CILIUM_POLICY, GATEWAY
from cellplane.cell.requirement import (
    Affinity,
    Effect,
    LabelSelector,
    Operator,
    PlacementRequirement,
    Preference,
    Source,
    Spread,
    Taint,
    Tier,
    Toleration,
)
from cellplane.placement.scheduler.snapshot import (
    ComponentDemand,
    Demand,
    OutsideScore,
    Plane,
    PlaneState,
)

KEYS = ("region", "zone")

taints = st.builds(Taint, key=st.sampled_from("xy"), effect=st.sampled_from(list(Effect)))
selectors = st.builds(
    LabelSelector,
    key=st.sampled_from(KEYS),
    operator=st.sampled_from([Operator.IN, Operator.NOT_IN, Operator.AT_LEAST, Operator.AT_MOST]),
    values=st.sampled_from([("1",), ("2",)]),
)
facts = st.builds(
    LabelSelector,
    key=st.just("free_cpu_millis"),
    operator=st.just(Operator.AT_LEAST),
    values=st.just(("2",)),
    source=st.just(Source.FACT),
)
spreads = st.builds(
    Spread,
    topology_key=st.sampled_from(KEYS),
    min_groups=st.sampled_from([None, 1, 2]),
    max_skew=st.sampled_from([None, 1, 2]),
    max_groups=st.sampled_from([None, None, 2, 3]),
    soft=st.sampled_from([False, False, True]),
)


def planes(index: int) -> st.SearchStrategy[Plane]:
    """Any data plane of that index."""
    return st.builds(
        Plane,
        data_plane=st.just(f"plane-{index}"),
        organization=st.just("acme"),
        state=st.sampled_from([PlaneState.READY, PlaneState.READY, *PlaneState]),
        cordoned=st.sampled_from([False, False, False, True]),
        drained=st.sampled_from([False, False, False, True]),
        labels=st.dictionaries(st.sampled_from(KEYS), st.sampled_from("12"), max_size=2),
        taints=st.lists(taints, max_size=1).map(tuple),
        capabilities=st.sampled_from(
            [frozenset({CILIUM_POLICY}), frozenset({CILIUM_POLICY, GATEWAY, CERT_MANAGER})]
        ),
        apis=st.sampled_from([None, frozenset({"v1"})]),
        allocatable=st.sampled_from([{}, {"cpu_millis": 3}, {"cpu_millis": 6, "gpu": 1}]),
        scores=st.sampled_from([(), (OutsideScore(score="s", value=3, valid_until=5.0),)]),
        cost=st.integers(0, 1),
    )


requirements = st.builds(
    PlacementRequirement,
    copies=st.sampled_from([None, 1, 2, 3]),
    selectors=st.lists(st.one_of(selectors, facts), max_size=1).map(tuple),
    preferences=st.lists(
        st.builds(Preference, selector=selectors, weight=st.integers(1, 3)), max_size=2
    ).map(tuple),
    tolerations=st.lists(
        st.builds(Toleration, key=st.sampled_from("x"), seconds=st.sampled_from([None, 5])),
        max_size=1,
    ).map(tuple),
    spreads=st.lists(spreads, max_size=2, unique_by=lambda s: s.topology_key).map(tuple),
    tiers=st.lists(
        st.builds(Tier, selectors=st.lists(selectors, max_size=1).map(tuple)), max_size=2
    ).map(tuple),
    overflow=st.sampled_from([None, True]),
    priority=st.sampled_from([None, 1]),
)


def demands(
    cell: str, asked: st.SearchStrategy[PlacementRequirement] = requirements
) -> st.SearchStrategy[Demand]:
    """Any Cell of that name."""
    return st.builds(
        Demand,
        cell=st.just(cell),
        organization=st.just("acme"),
        requirement=asked,
        exposed=st.sampled_from([False, False, False]),
        components=st.tuples(
            st.builds(
                ComponentDemand,
                component=st.just("web"),
                replicas=st.integers(1, 2),
                resources=st.sampled_from([{}, {"cpu_millis": 1}, {"cpu_millis": 1, "gpu": 1}]),
                apis=st.sampled_from([(), ("v1",), ("v2",)]),
            )
        ),
    )


near = st.builds(
    PlacementRequirement,
    copies=st.sampled_from([1, 2]),
    affinities=st.lists(
        st.builds(
            Affinity,
            cell=st.sampled_from(["a", "b", "c"]),
            topology_key=st.sampled_from(["", "region"]),
            apart=st.booleans(),
            weight=st.sampled_from([None, None, 2]),
        ),
        max_size=1,
    ).map(tuple),
)
some_planes = st.integers(0, 6).flatmap(lambda n: st.tuples(*(planes(i) for i in range(n))))
