"""Rules of everything but components: pipelines, requirements, defaults, names."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cellplane.cell.requirement import (
    LabelSelector,
    Operator,
    PlacementRequirement,
    Spread,
    Toleration,
    narrow,
)
from cellplane.cell.visibility import Encryption, Isolation
from cellplane.cell.workload import (
    Autoscaling,
    ComponentKind,
    EnvironmentVariable,
    Resources,
    Schedule,
)
from cellplane.model.domain import schedule
from cellplane.model.domain.default import (
    default_workload,
    organization_domain,
    override,
    public_domain,
)
from cellplane.model.domain.kinds import Kind, ids, kind_of
from cellplane.model.domain.promote import edges, find_cycle, first_environment
from cellplane.model.domain.resolve import stricter_encryption, stricter_isolation
from cellplane.model.domain.resources import (
    DeploymentPipeline,
    Environment,
    Overrides,
    Project,
    PromotionPath,
)
from cellplane.model.domain.validate import (
    validate_annotations,
    validate_environment,
    validate_name,
    validate_pipeline,
    validate_project,
)
from tests.unit.model.build import ORG, component, endpoint

ENV = f"{ORG}/environments"


def pipeline(*steps: tuple[str, tuple[str, ...]]) -> DeploymentPipeline:
    return DeploymentPipeline(
        name=f"{ORG}/deploymentPipelines/p",
        promotion_paths=tuple(
            PromotionPath(
                source_environment=f"{ENV}/{source}",
                target_environments=tuple(f"{ENV}/{target}" for target in targets),
            )
            for source, targets in steps
        ),
    )


def reasons(problems: object) -> list[tuple[str, str]]:
    return [(p.field, p.reason) for p in problems]  # type: ignore[attr-defined]


def test_a_pipeline_with_a_cycle_is_refused() -> None:
    """Releases would go round for ever; the finding shows the way."""
    problems = validate_pipeline(pipeline(("a", ("b",)), ("b", ("c",)), ("c", ("a",))))

    assert reasons(problems) == [("promotion_paths", "PIPELINE_CYCLE")]
    assert problems[0].message.count("environments/a") == 2


def test_a_pipeline_has_one_first_environment() -> None:
    """With two of them nobody knows where releases start."""
    problems = validate_pipeline(pipeline(("a", ("c",)), ("b", ("c",))))

    assert reasons(problems) == [("promotion_paths", "PIPELINE_ROOTS")]


def test_a_pipeline_may_branch_and_join() -> None:
    """Two ways to one environment are no cycle."""
    diamond = pipeline(("a", ("b", "c")), ("b", ("d",)), ("c", ("d",)))

    assert validate_pipeline(diamond) == []
    assert find_cycle(edges(diamond)) == ()
    assert first_environment(diamond) == f"{ENV}/a"


def test_a_source_twice_is_refused() -> None:
    """All targets of an environment stand in one path."""
    problems = validate_pipeline(pipeline(("a", ("b",)), ("a", ("c",))))

    assert reasons(problems) == [("promotion_paths[1].source_environment", "NAME_DUPLICATE")]


def test_another_organization_is_refused() -> None:
    """A pipeline leads through its own organization's environments alone."""
    foreign = DeploymentPipeline(
        name=f"{ORG}/deploymentPipelines/p",
        promotion_paths=(PromotionPath(source_environment="organizations/b/environments/a"),),
    )

    assert reasons(validate_pipeline(foreign)) == [
        ("promotion_paths[0].source_environment", "OTHER_ORGANIZATION")
    ]


@pytest.mark.parametrize("id", ["kube-system", "default", "cellplane-gateways", "northbound"])
def test_ids_of_the_platform_are_reserved(id: str) -> None:
    """No project is called as something of the cluster or the platform is."""
    project = Project(
        name=f"{ORG}/projects/{id}", deployment_pipeline=f"{ORG}/deploymentPipelines/p"
    )

    assert reasons(validate_project(project)) == [("name", "NAME_RESERVED")]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "organizations/acme/projects",
        "projects/shop",
        f"{ORG}/projects/{'a' * 64}",
        f"{ORG}/projects/-",
    ],
)
def test_a_bad_name_is_refused(name: str) -> None:
    """A name has its kind's collections, and legal ids."""
    assert reasons(validate_name(Kind.PROJECT, name)) == [("name", "NAME_INVALID")]


def test_a_name_tells_its_kind() -> None:
    """Collections alone say what a name is of."""
    assert kind_of(f"{ORG}/projects/a/cells/b") is Kind.CELL
    assert kind_of("a/b") is None
    assert ids(Kind.PROJECT, f"{ORG}/projects/a") == ("acme", "a")


def test_annotations_of_the_platform_are_refused() -> None:
    """Tenants cannot write what policies trust."""
    assert reasons(validate_annotations({"cellplane.dev/cell": "x", "team": "a"})) == [
        ('annotations["cellplane.dev/cell"]', "NAME_RESERVED")
    ]


def test_domains_are_made_from_names_and_never_overlap() -> None:
    """Without domains of its own an environment has two that differ."""
    environment = Environment(name=f"{ENV}/development")

    assert public_domain(environment) == "apps.development.acme.cellplane.internal"
    assert organization_domain(environment) == "org.development.acme.cellplane.internal"
    assert validate_environment(environment, ()) == []


@pytest.mark.parametrize(
    ("public", "internal"),
    [("a.example.com", "a.example.com"), ("x.a.example.com", "a.example.com")],
)
def test_overlapping_domains_are_refused(public: str, internal: str) -> None:
    """The door of the internet must not answer for the organization's."""
    environment = Environment(name=f"{ENV}/a", public_domain=public, organization_domain=internal)

    problems = validate_environment(environment, ())

    assert reasons(problems) == [("organization_domain", "DOMAIN_OVERLAP")]


def test_a_selector_has_the_values_that_its_operator_needs() -> None:
    """IN needs some, EXISTS takes none, and both are found."""
    requirement = PlacementRequirement(
        selectors=(
            LabelSelector(key="a", operator=Operator.IN),
            LabelSelector(key="b", operator=Operator.EXISTS, values=("x",)),
        )
    )
    problems = validate_environment(Environment(name=f"{ENV}/a", placement=requirement), ())

    assert reasons(problems) == [
        ("placement.selectors[0].values", "FIELD_REQUIRED"),
        ("placement.selectors[1].values", "FIELDS_EXCLUDE"),
    ]


def test_a_requirement_is_narrowed_and_never_widened() -> None:
    """Every level's demands hold; of numbers the narrower level's, of spreads the stricter."""
    wide = PlacementRequirement(
        copies=1,
        selectors=(LabelSelector(key="eu", operator=Operator.EXISTS),),
        excluded_data_planes=("b",),
        spreads=(Spread(topology_key="zone", min_groups=2, max_skew=1),),
        capabilities=("mtls",),
    )
    narrower = PlacementRequirement(
        copies=3,
        excluded_data_planes=("a",),
        tolerations=(Toleration(key="gpu"),),
        spreads=(Spread(topology_key="zone", min_groups=1, max_skew=4),),
    )

    effective = narrow((wide, None, narrower))

    assert effective.copies == 3
    assert effective.selectors == wide.selectors
    assert effective.excluded_data_planes == ("a", "b")
    assert effective.spreads == wide.spreads
    assert effective.capabilities == ("mtls",)


def test_the_stricter_isolation_and_encryption_count() -> None:
    """Neither the organization nor the environment can be outvoted."""
    assert stricter_isolation(Isolation.STRICT, Isolation.OPEN) is Isolation.STRICT
    assert stricter_isolation(Isolation.UNSPECIFIED, Isolation.UNSPECIFIED) is Isolation.OPEN
    assert stricter_encryption(Encryption.ANY, Encryption.MTLS) is Encryption.MTLS
    assert stricter_encryption(Encryption.MTLS, Encryption.ANY) is Encryption.MTLS
    assert stricter_encryption(Encryption.IPSEC, Encryption.WIREGUARD) is Encryption.WIREGUARD


def test_every_default_is_filled_in() -> None:
    """What a service leaves out is what the contract promises."""
    workload = default_workload(component(endpoints=(endpoint("a", 8080), endpoint("b", 1))))

    assert workload.replicas == 1
    assert workload.run_as_user == 10001
    assert workload.resources == Resources(
        cpu_request="50m", memory_request="64Mi", memory_limit="256Mi"
    )
    assert workload.readiness_probe is not None
    assert workload.readiness_probe.endpoint == "a"
    assert workload.readiness_probe.period == timedelta(seconds=10)
    assert workload.liveness_probe is None
    assert workload.retries is None


def test_a_task_is_tried_again_and_has_no_replicas() -> None:
    """What ends by itself is neither scaled nor probed, and has a time zone."""
    task = component(
        workload={"schedule": Schedule(cron="@daily")},
        component_kind=ComponentKind.SCHEDULED_TASK,
    )
    workload = default_workload(task)

    assert workload.replicas is None
    assert workload.retries == 3
    assert workload.schedule == Schedule(cron="@daily", time_zone="Etc/UTC")
    assert workload.readiness_probe is None


def test_an_environment_overrides_a_release() -> None:
    """Its variables win by name, and its replicas end any scaling."""
    released = component(
        workload={
            "env": (EnvironmentVariable(name="A", value="1"), EnvironmentVariable(name="B")),
            "autoscaling": Autoscaling(min_replicas=1, max_replicas=3),
            "resources": Resources(cpu_request="1"),
        }
    )
    own = Overrides(
        env=(EnvironmentVariable(name="A", value="2"),),
        replicas=5,
        resources=Resources(memory_limit="1Gi"),
    )

    workload = override(released, own).workload

    assert {v.name: v.value for v in workload.env} == {"A": "2", "B": ""}
    assert workload.replicas == 5
    assert workload.autoscaling is None
    assert workload.resources == Resources(cpu_request="1", memory_limit="1Gi")


@pytest.mark.parametrize(
    "cron",
    [
        "* * * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * foo *",
        "* * * * 7",
        "a-b * * * *",
        "@never",
        "*-5 * * * *",
    ],
)
def test_a_schedule_that_never_fits_is_refused(cron: str) -> None:
    """Fields have their ranges, as Kubernetes reads them."""
    assert schedule.problem_of(cron)
