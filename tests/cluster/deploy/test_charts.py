"""What the charts promise, read from what Helm renders."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cellplane.cell.names import CellName
from cellplane.runtime.config import Settings, load
from tests.cluster.deploy.charts import (
    AGENT,
    CONTROL_PLANE,
    HERE,
    Case,
    Helm,
    Object,
    cases,
    environment,
    of_kind,
)

pytestmark = pytest.mark.timeout(900)

SERVICES = ("model", "placement", "network_policy", "gateway", "observability")
DEFAULTS = HERE / "values" / CONTROL_PLANE / "defaults.yaml"
POSTGRESQL = HERE / "values" / CONTROL_PLANE / "postgresql.yaml"
JOINED = HERE / "values" / AGENT / "joined.yaml"


@pytest.mark.parametrize("case", cases("values"), ids=str)
def test_a_chart_lints(helm: Helm, case: Case) -> None:
    """Helm finds nothing wrong in a chart with any of the value sets."""
    done = helm.lint(case.chart, case.values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", cases("refused"), ids=str)
def test_wrong_values_are_refused(helm: Helm, case: Case) -> None:
    """A wrong value renders nothing, and the message says what the case expects."""
    expected = case.values.read_text(encoding="utf-8").splitlines()[0].removeprefix("# refused: ")
    done = helm.template(case.chart, case.values)
    assert done.returncode != 0
    assert not done.stdout
    assert expected in done.stderr


@pytest.mark.parametrize("case", cases("values"), ids=str)
def test_every_pod_is_restricted(helm: Helm, case: Case) -> None:
    """Every container runs as a numeric user that is not root, with nothing it could change."""
    pods = [
        each["spec"]["template"]["spec"] for each in of_kind(helm.render(*_of(case)), "Deployment")
    ]
    assert pods
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(container["resources"]) == {"requests", "limits"}


@pytest.mark.parametrize("case", cases("values"), ids=str)
def test_every_object_carries_the_standard_labels(helm: Helm, case: Case) -> None:
    """Each object names its chart, instance, version and manager, and its own namespace."""
    for each in helm.render(*_of(case)):
        metadata = each["metadata"]
        wanted = {"name", "instance", "version", "part-of", "managed-by"}
        assert {f"app.kubernetes.io/{key}" for key in wanted} <= set(metadata["labels"])
        assert metadata.get("namespace", case.chart) == case.chart


def test_each_service_is_apart(helm: Helm) -> None:
    """Five Deployments, each with its own Service, ServiceAccount, Secret and NetworkPolicy."""
    objects = helm.render(CONTROL_PLANE, DEFAULTS)
    names = {f"main-cellplane-{service.replace('_', '-')}" for service in SERVICES}
    for kind in ("Deployment", "Service", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"):
        assert names <= {each["metadata"]["name"] for each in of_kind(objects, kind)}
    secrets = [
        volume["secret"]["secretName"]
        for each in of_kind(objects, "Deployment")
        for volume in each["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    ]
    assert sorted(secrets) == sorted(f"{name}-tls" for name in names)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "case", [case for case in cases("values") if case.chart == CONTROL_PLANE], ids=str
)
def test_services_understand_what_the_chart_says(helm: Helm, case: Case, service: str) -> None:
    """Every variable of a Deployment is a setting of its service, which loads with them."""
    deployment = _deployment(helm.render(*_of(case)), service)
    settings = _settings(f"cellplane.{service}.config", service)
    environ = environment(deployment)
    known = {settings.environment_key(field) for field in settings.model_fields}
    assert {name for name in environ if name.startswith("CELLPLANE_")} <= known
    load(settings, environ=environ)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == [f"cellplane.{service}"]


@pytest.mark.parametrize("case", [case for case in cases("values") if case.chart == AGENT], ids=str)
def test_the_agent_understands_what_the_chart_says(helm: Helm, case: Case) -> None:
    """Every variable of the agent's Deployment is a setting of the agent, which loads with them."""
    (deployment,) = of_kind(helm.render(*_of(case)), "Deployment")
    settings = _settings("cellplane.agent.config", "agent")
    environ = environment(deployment)
    known = {settings.environment_key(field) for field in settings.model_fields}
    assert {name for name in environ if name.startswith("CELLPLANE_")} <= known
    load(settings, environ=environ)


@pytest.mark.parametrize("service", SERVICES)
def test_probes_need_no_certificate(helm: Helm, service: str) -> None:
    """Probes ask the plain admin port, which is not the gRPC port; channelz stays on loopback."""
    deployment = _deployment(helm.render(CONTROL_PLANE, DEFAULTS), service)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    environ = environment(deployment)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    prefix = f"CELLPLANE_{service.upper()}"
    assert environ[f"{prefix}_LISTEN"] == f"0.0.0.0:{ports['grpc']}"
    assert environ[f"{prefix}_ADMIN_LISTEN"] == f"0.0.0.0:{ports['admin']}"
    assert environ[f"{prefix}_ADMIN_GRPC_LISTEN"].startswith("127.0.0.1:")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == "admin"


@pytest.mark.parametrize("values", [DEFAULTS, POSTGRESQL], ids=["sqlite", "postgresql"])
def test_a_state_has_one_process(helm: Helm, values: Path) -> None:
    """A service with state is one pod, and the next starts after the one before has ended."""
    objects = helm.render(CONTROL_PLANE, values)
    for service in ("model", "placement", "observability"):
        spec = _deployment(objects, service)["spec"]
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_sqlite_outlives_its_pod(helm: Helm) -> None:
    """With SQLite the state folder is a volume."""
    objects = helm.render(CONTROL_PLANE, DEFAULTS)
    for service in ("model", "placement", "observability"):
        assert _volume(_deployment(objects, service)["spec"], "state") == {
            "persistentVolumeClaim": {"claimName": f"main-cellplane-{service}-state"}
        }


def test_services_without_state_scale(helm: Helm) -> None:
    """Compiling services roll without a gap, by a number of replicas or by an autoscaler."""
    objects = helm.render(CONTROL_PLANE, POSTGRESQL)
    assert _deployment(objects, "network_policy")["spec"]["replicas"] == 3
    assert "replicas" not in _deployment(objects, "gateway")["spec"]
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "main-cellplane-gateway"
    for service in ("network_policy", "gateway"):
        strategy = _deployment(objects, service)["spec"]["strategy"]
        assert strategy["rollingUpdate"]["maxUnavailable"] == 0


def test_a_database_comes_out_of_a_secret(helm: Helm) -> None:
    """With PostgreSQL the URL is the service's own Secret, and only placement keeps a volume."""
    objects = helm.render(CONTROL_PLANE, POSTGRESQL)
    model = environment(_deployment(objects, "model"))
    placement = environment(_deployment(objects, "placement"))
    assert model["CELLPLANE_MODEL_DATABASE_URL"] == "model-database/url"
    assert placement["CELLPLANE_PLACEMENT_DATABASE_URL"] == "placement-database/uri"
    claims = {each["metadata"]["name"] for each in of_kind(objects, "PersistentVolumeClaim")}
    assert claims == {"main-cellplane-placement-state"}


def test_roles_reach_every_service(helm: Helm, tmp_path: Path) -> None:
    """A ConfigMap of roles is mounted by each service, which is told its file; none without one."""
    values = tmp_path / "roles.yaml"
    values.write_text("roles: {configMap: people}\n")
    with_roles = helm.render(CONTROL_PLANE, values)
    without = helm.render(CONTROL_PLANE, DEFAULTS)
    for service in SERVICES:
        key = f"CELLPLANE_{service.upper()}_ROLES_FILE"
        pod = _deployment(with_roles, service)
        assert environment(pod)[key] == "/etc/cellplane/roles/roles.toml"
        assert "people" in str(pod)
        assert key not in environment(_deployment(without, service))


def test_certificates_carry_one_identity_each(helm: Helm) -> None:
    """Each certificate has one URI, its holder's identity, and the names it is reached by."""
    objects = helm.render(CONTROL_PLANE, POSTGRESQL)
    certificates = of_kind(objects, "Certificate")
    assert {tuple(each["spec"]["uris"]) for each in certificates} == {
        *((f"spiffe://cells.example.com/services/{service}",) for service in SERVICES),
        ("spiffe://cells.example.com/users/admin",),
        ("spiffe://cells.example.com/users/ci",),
    }
    addresses = environment(_deployment(objects, "placement"))
    for service in SERVICES:
        (certificate,) = (
            each
            for each in certificates
            if each["spec"]["uris"][0].endswith(f"/services/{service}")
        )
        if service != "placement":
            host = addresses[f"CELLPLANE_PLACEMENT_{service.upper()}_ADDRESS"].rpartition(":")[0]
            assert host in certificate["spec"]["dnsNames"]


def test_the_namespace_is_closed(helm: Helm) -> None:
    """The namespace denies everything, and only the ports of agents are open to all."""
    policies = of_kind(helm.render(CONTROL_PLANE, DEFAULTS), "NetworkPolicy")
    (closed,) = (each for each in policies if each["metadata"]["name"].endswith("-default-deny"))
    assert closed["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for each in policies:
        for rule in each["spec"].get("ingress", []):
            if "from" not in rule:
                assert each["metadata"]["name"].endswith("-placement")
                assert {port["port"] for port in rule["ports"]} == {"link", "join"}
        for rule in each["spec"].get("egress", []):
            assert rule["to"], each["metadata"]["name"]


def test_nothing_connects_to_an_agent(helm: Helm) -> None:
    """The agent has no Service, no port and no ingress rule."""
    objects = helm.render(AGENT, JOINED)
    assert not of_kind(objects, "Service")
    (deployment,) = of_kind(objects, "Deployment")
    assert "ports" not in deployment["spec"]["template"]["spec"]["containers"][0]
    (policy,) = of_kind(objects, "NetworkPolicy")
    assert policy["spec"]["ingress"] == []
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


@pytest.mark.parametrize("case", cases("values"), ids=str)
def test_no_role_has_a_wildcard(helm: Helm, case: Case) -> None:
    """Roles name groups, resources and verbs; none grants Secrets, or more than reads of pods."""
    objects = helm.render(*_of(case))
    roles = [*of_kind(objects, "ClusterRole"), *of_kind(objects, "Role")]
    assert bool(roles) == (case.chart == AGENT)
    for rule in (rule for role in roles for rule in role["rules"]):
        said = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert "*" not in said
        assert not said & {"secrets", "impersonate", "escalate", "bind", "deletecollection"}
        assert "nonResourceURLs" not in rule
        if {"pods", "nodes", "events", "replicasets", "persistentvolumeclaims"} & said:
            assert set(rule["verbs"]) == {"get", "list", "watch"}


def test_the_token_is_never_a_value(helm: Helm) -> None:
    """The token comes from a Secret that may be deleted after the agent has joined."""
    (deployment,) = of_kind(helm.render(AGENT, JOINED), "Deployment")
    (token,) = (
        entry
        for entry in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        if entry["name"] == "CELLPLANE_AGENT_TOKEN"
    )
    assert token["valueFrom"]["secretKeyRef"]["optional"] is True


def test_the_guard_knows_the_namespaces_of_cells(helm: Helm) -> None:
    """The agent's admission policy opens the namespaces that Cells get, by their common prefix."""
    (policy,) = of_kind(helm.render(AGENT, JOINED), "ValidatingAdmissionPolicy")
    (validation,) = policy["spec"]["validations"]
    assert validation["expression"].startswith('variables.where.startsWith("cell-")')
    cell = CellName(organization="acme", project="boutique", environment="development")
    assert cell.namespace.startswith("cell-")


def _of(case: Case) -> tuple[str, Any]:
    return case.chart, case.values


def _deployment(objects: Any, service: str) -> Object:
    (found,) = (
        each
        for each in of_kind(objects, "Deployment")
        if each["metadata"]["labels"]["app.kubernetes.io/component"] == service.replace("_", "-")
    )
    return found


def _volume(spec: Object, name: str) -> Object:
    (found,) = (each for each in spec["template"]["spec"]["volumes"] if each["name"] == name)
    return {key: value for key, value in found.items() if key != "name"}


def _settings(module: str, service: str) -> type[Settings]:
    def classes() -> Iterator[type[Settings]]:
        for value in vars(importlib.import_module(module)).values():
            if isinstance(value, type) and issubclass(value, Settings) and value.service:
                yield value

    (found,) = (each for each in classes() if each.service.replace("-", "_") == service)
    return found
