"""The platform's rules: what a developer reads, and what holds whatever they say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.cell.rules import NO_RULES, OwnedRules, PlatformRules, RequiredProbe, ResourceBounds
from cellplane.cell.visibility import Visibility
from cellplane.cell.workload import Autoscaling, Probe, Resources, Volume
from cellplane.model.domain.resources import Component, Environment, Organization
from cellplane.model.domain.rules import Usage, in_force, judge, judge_cell, usage_of
from tests.unit.model.build import ORG, component, endpoint

PRODUCTION = f"{ORG}/environments/production"


def at(owner: str, **rules: object) -> OwnedRules:
    return OwnedRules(owner=owner, rules=PlatformRules(**rules))  # type: ignore[arg-type]


CASES = {
    "visibility": (
        component(
            endpoints=(endpoint(visibilities=(Visibility.ORGANIZATION, Visibility.PUBLIC)),),
        ),
        (
            at(ORG, max_visibility=Visibility.PUBLIC),
            at(PRODUCTION, max_visibility=Visibility.ORGANIZATION),
        ),
        [
            (
                'endpoints[0].visibilities[1]: endpoint "http" is PUBLIC, but max_visibility of '
                "organizations/acme/environments/production is ORGANIZATION: remove PUBLIC from "
                "its visibilities"
            )
        ],
    ),
    "registry and digest": (
        component(workload={"image": "nginx:1"}),
        (
            at(
                ORG,
                image_registries=("ghcr.io/acme", "registry.acme:5000"),
                image_digest_required=True,
            ),
        ),
        [
            (
                'workload.image: image "nginx:1" is from nowhere that image_registries of '
                "organizations/acme allows: push it to ghcr.io/acme or registry.acme:5000"
            ),
            (
                'workload.image: image "nginx:1" can change without a trace, and '
                "image_digest_required of organizations/acme is set: name its digest, as in "
                "image@sha256:…"
            ),
        ],
    ),
    "labels": (
        component(labels={"team": "cart"}),
        (at(ORG, required_labels=("team", "tier")), at(PRODUCTION, required_labels=("tier",))),
        [
            (
                'labels["tier"]: label "tier" is not set, but is among required_labels of '
                "organizations/acme: add `labels: {tier: …}`"
            )
        ],
    ),
    "probes": (
        component(endpoints=(endpoint(),), workload={"readiness_probe": Probe(endpoint="http")}),
        (at(PRODUCTION, required_probes=(RequiredProbe.READINESS, RequiredProbe.LIVENESS)),),
        [
            (
                "workload.liveness_probe: liveness_probe is not set, but LIVENESS is among "
                "required_probes of organizations/acme/environments/production: say which endpoint "
                "tells whether the process works"
            )
        ],
    ),
    "ceilings": (
        component(
            workload={
                "resources": Resources(cpu_request="2", memory_limit="2Gi"),
                "autoscaling": Autoscaling(min_replicas=1, max_replicas=20),
                "volumes": (
                    Volume(volume="a", mount_path="/a", size="6Gi"),
                    Volume(volume="b", mount_path="/b", size="6Gi"),
                ),
            }
        ),
        (
            at(
                ORG,
                component_ceiling=ResourceBounds(
                    cpu="1", memory="2Gi", replicas=10, storage="10Gi"
                ),
            ),
            at(PRODUCTION, component_ceiling=ResourceBounds(memory="1Gi", replicas=50)),
        ),
        [
            (
                "workload.resources.cpu_request: cpu_request is 2, but component_ceiling.cpu of "
                "organizations/acme is 1: ask for 1 at most"
            ),
            (
                "workload.resources.memory_limit: memory_limit is 2Gi, but "
                "component_ceiling.memory of organizations/acme/environments/production is 1Gi: "
                "ask for 1Gi at most"
            ),
            (
                "workload.autoscaling.max_replicas: max_replicas is 20, but "
                "component_ceiling.replicas of organizations/acme is 10: ask for 10 at most"
            ),
            (
                "workload.volumes[1].size: volumes need 12Gi, but component_ceiling.storage of "
                "organizations/acme is 10Gi: ask for 10Gi at most"
            ),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_finding_names_field_value_rule_owner_and_way_out(case: str) -> None:
    """Each message is the one that a user reads, and all of them come at once."""
    written, levels, expected = CASES[case]
    assert [f"{p.field}: {p.message}" for p in judge(written, levels)] == expected
    assert judge(written, ()) == []


@pytest.mark.parametrize(
    ("image", "place", "allowed"),
    [
        ("nginx", "docker.io/library", True),
        ("nginx:1", "docker.io", True),
        ("acme/app:1", "docker.io/acme", True),
        ("ghcr.io/acme/app:1", "ghcr.io/acme", True),
        ("ghcr.io/acme-evil/app:1", "ghcr.io/acme", False),
        ("ghcr.io.evil.com/acme/app", "ghcr.io", False),
        ("registry:5000/app@sha256:" + "0" * 64, "registry:5000", True),
        ("localhost/app", "docker.io", False),
    ],
)
def test_a_registry_is_read_as_runtimes_read_it(image: str, place: str, allowed: bool) -> None:
    """Neither a longer host nor a longer folder passes for an allowed one."""
    found = judge(component(workload={"image": image}), (at(ORG, image_registries=(place,)),))
    assert (not found) is allowed


def test_a_quota_counts_all_components_at_their_most() -> None:
    """Two components that may scale to ten replicas take twenty, and the answer says whose rule."""
    scaled = component(
        workload={
            "resources": Resources(cpu_request="100m", memory_request="1Gi"),
            "autoscaling": Autoscaling(min_replicas=1, max_replicas=10),
        }
    )
    usage = usage_of(scaled) + usage_of(scaled)
    levels = (at(ORG, cell_quota=ResourceBounds(cpu="2", memory="10Gi", replicas=19)),)
    assert [p.message for p in judge_cell("the Cell", usage, levels)] == [
        (
            "the components of the Cell together would have 20Gi memory, but cell_quota.memory of "
            "organizations/acme is 10Gi: ask for less, or remove a component"
        ),
        (
            "the components of the Cell together would have 20 replicas, but cell_quota.replicas "
            "of organizations/acme is 19: ask for less, or remove a component"
        ),
    ]
    assert judge_cell("the Cell", Usage(), levels) == []


BOUNDS = st.builds(
    ResourceBounds,
    cpu=st.sampled_from(["", "100m", "1", "4"]),
    memory=st.sampled_from(["", "128Mi", "1Gi"]),
    replicas=st.integers(0, 5),
    storage=st.sampled_from(["", "1Gi", "10Gi"]),
)
RULES = st.builds(
    PlatformRules,
    max_visibility=st.sampled_from([None, *Visibility]),
    image_registries=st.lists(st.sampled_from(["docker.io", "ghcr.io/acme"])).map(tuple),
    image_digest_required=st.booleans(),
    required_labels=st.lists(st.sampled_from(["team", "tier"])).map(tuple),
    required_probes=st.lists(st.sampled_from(list(RequiredProbe))).map(tuple),
    component_ceiling=st.none() | BOUNDS,
)
COMPONENTS = st.builds(
    lambda visible, image, labels, cpu, replicas: component(
        endpoints=(endpoint(visibilities=tuple(visible)),),
        labels=dict.fromkeys(labels, "x"),
        workload={
            "image": image,
            "replicas": replicas,
            "resources": Resources(cpu_request=cpu),
        },
    ),
    st.lists(st.sampled_from(list(Visibility)), unique=True),
    st.sampled_from(["app:1", "ghcr.io/acme/app@sha256:" + "0" * 64]),
    st.lists(st.sampled_from(["team", "tier"]), unique=True),
    st.sampled_from(["50m", "500m", "2"]),
    st.integers(0, 6),
)


@settings(max_examples=60, deadline=None)
@given(COMPONENTS, RULES, RULES)
def test_a_narrower_level_never_widens(
    written: Component, wide: PlatformRules, narrow: PlatformRules
) -> None:
    """With both levels a component keeps the rules exactly if it keeps those of each alone."""
    levels = in_force(
        Organization(name=ORG, rules=wide), Environment(name=PRODUCTION, rules=narrow)
    )
    alone = [judge(written, (level,)) for level in levels]
    both = {(p.reason, p.field) for p in judge(written, levels)}
    assert both == {(p.reason, p.field) for found in alone for p in found}


@settings(max_examples=30, deadline=None)
@given(COMPONENTS, RULES)
def test_who_mends_every_finding_keeps_the_rules(written: Component, rules: PlatformRules) -> None:
    """No rules find nothing, and a finding is about a rule that is set."""
    assert judge(written, (OwnedRules(owner=ORG, rules=NO_RULES),)) == []
    without = replace(rules, component_ceiling=None, required_labels=())
    reasons = {p.reason for p in judge(written, (OwnedRules(owner=ORG, rules=without),))}
    assert not reasons & {"RULE_CEILING", "RULE_LABEL_MISSING"}
