"""Edits of a world so small that references meet: two projects, six components, two secrets."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cellplane.api.model.v1 import (
    component_pb2,
    deployment_pb2,
    environment_pb2,
    organization_pb2,
    project_pb2,
    secret_reference_pb2,
)
from cellplane.api.type.v1 import placement_pb2, workload_pb2
from tests.service.model.world import (
    DEV,
    ORG,
    ORGANIZATION,
    PAY,
    PIPELINE,
    PUBLIC,
    SHOP,
    STAGING,
    component,
    connection,
    endpoint,
)

NAMES = [f"{project}/components/{own}" for project in (SHOP, PAY) for own in ("a", "b", "c")]
SECRETS = [f"{SHOP}/secretReferences/{own}" for own in ("s", "t")]
KEYS = ("k", "l")
ENVIRONMENTS = (DEV, STAGING)
CELLS = [f"{project}/cells/{e.rsplit('/', 1)[-1]}" for project in (SHOP, PAY) for e in ENVIRONMENTS]


def full(name: str) -> Any:
    """A component that everybody may call."""
    project, _, own = name.partition("/components/")
    endpoints = [endpoint("e", 80, [ORGANIZATION]), endpoint("f", 90, [ORGANIZATION])]
    return component(own, project=project, endpoints=endpoints)


def world() -> list[Any]:
    """What there is before the first edit: every component, and a reader of each secret."""
    found = {name: full(name) for name in NAMES}
    _read(found[f"{SHOP}/components/a"], 0, SECRETS[0], KEYS[0])
    _read(found[f"{SHOP}/components/b"], 0, SECRETS[1], "")
    found[f"{SHOP}/components/b"].connections.append(connection(f"{PAY}/components/a", "e"))
    return [*map(full_secret, SECRETS), *found.values()]


def full_secret(name: str) -> Any:
    """A secret reference with every key."""
    return secret_reference_pb2.SecretReference(
        name=name,
        remote_key="main",
        keys=[secret_reference_pb2.SecretReferenceEntry(key=key) for key in KEYS],
    )


@st.composite
def components(draw: st.DrawFn, name: str = "") -> Any:
    """A component; most endpoints stay as they are."""
    own = full(name or draw(st.sampled_from(NAMES)))
    own.workload.image = f"app:{draw(st.integers(1, 3))}"
    own.connections.extend(
        connection(target, called, id=f"k{number}")
        for number, (target, called) in enumerate(draw(_CALLS))
    )
    if own.name.startswith(SHOP):
        for number, (secret, key) in enumerate(draw(_READS)):
            _read(own, number, secret, key)
    first = own.endpoints[0]
    match draw(st.sampled_from(["", "", "port", "public", "collide", "hide", "remove"])):
        case "port":
            first.port = draw(st.integers(1000, 1002))
        case "public":
            first.visibilities.append(PUBLIC)
            first.path = f"/{own.name[-1]}"
        case "collide":
            first.visibilities.append(PUBLIC)
            first.path = "/x"
        case "hide":
            del first.visibilities[:]
        case "remove":
            del own.endpoints[0]
    return own


def _read(own: component_pb2.Component, number: int, secret: str, key: str) -> None:
    if key:
        variable = own.workload.env.add(name=f"SECRET_{number}")
        variable.secret_reference_key.secret_reference = secret
        variable.secret_reference_key.key = key
    else:
        own.workload.secret_mounts.add(secret_reference=secret, mount_path=f"/etc/{number}")


_CALLS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["e", "f"])), unique=True, max_size=3
)
_READS = st.lists(
    st.tuples(st.sampled_from(SECRETS), st.sampled_from([*KEYS, ""])), unique=True, max_size=2
)


@st.composite
def secrets(draw: st.DrawFn) -> Any:
    """A secret reference: a key more or less, another place, one environment only."""
    own = full_secret(draw(st.sampled_from(SECRETS)))
    own.display_name = draw(st.sampled_from(["", "a secret"]))
    match draw(st.sampled_from(["", "key", "property", "property", "place", "staging", "store"])):
        case "key":
            del own.keys[draw(st.integers(0, 1))]
        case "property":
            own.keys[draw(st.integers(0, 1))].property = draw(st.sampled_from(["p", "q"]))
        case "place":
            own.remote_key = draw(st.sampled_from(["here", "there"]))
        case "staging":
            own.remote_key = ""
            own.environments.add(environment=STAGING, remote_key="staging")
        case "store":
            own.secret_store = "vault"
    return own


@st.composite
def owners(draw: st.DrawFn) -> Any:
    """What Cells belong to, and take their frame and requirement from."""
    placement = placement_pb2.PlacementRequirement(copies=draw(st.integers(1, 2)))
    match draw(st.sampled_from(["environment", "organization", "project"])):
        case "environment":
            return environment_pb2.Environment(
                name=draw(st.sampled_from(ENVIRONMENTS)),
                public_domain=draw(st.sampled_from(["", "a.example.com", "b.example.com"])),
                organization_domain=draw(st.sampled_from(["", "org.example.com"])),
                production=draw(st.booleans()),
                placement=placement,
            )
        case "organization":
            return organization_pb2.Organization(
                name=ORG, isolation=draw(st.sampled_from([0, 1, 2])), placement=placement
            )
        case _:
            return project_pb2.Project(
                name=draw(st.sampled_from([SHOP, PAY])),
                deployment_pipeline=PIPELINE,
                placement=placement,
            )


@st.composite
def overrides(draw: st.DrawFn) -> Any:
    """What a deployment wants otherwise: a replica more, or a secret of its own."""
    own = deployment_pb2.Overrides(replicas=draw(st.integers(1, 3)))
    if draw(st.booleans()):
        variable = own.env.add(name="SECRET_OWN")
        variable.secret_reference_key.secret_reference = draw(st.sampled_from(SECRETS))
        variable.secret_reference_key.key = draw(st.sampled_from(KEYS))
    else:
        own.env.append(workload_pb2.EnvironmentVariable(name="PLAIN", value="1"))
    return own


def resources() -> st.SearchStrategy[Any]:
    """Any one resource."""
    return st.one_of(components(), secrets(), owners())


def batches() -> st.SearchStrategy[list[Any]]:
    """What is applied at once."""
    return st.lists(resources(), min_size=1, max_size=4, unique_by=lambda r: r.name)
