"""Types and traits by the API: versions, who follows them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict

from cellplane.api.model.v1 import (
    component_pb2,
    component_type_pb2,
    component_type_version_pb2,
    component_type_version_pb2_grpc,
    deployment_pb2,
    trait_pb2,
    type_impact_pb2,
    type_impact_pb2_grpc,
)
from tests.service.model.world import (
    ORG,
    SHOP,
    SHOP_DEV,
    Api,
    component,
    failure,
    findings,
)

pytestmark = [
    pytest.mark.asyncio,
    # What is kept is kept as everything else is; what is shown here knows no database.
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]

WEB = f"{ORG}/componentTypes/web"
NOTE = f"{ORG}/traits/note"
TIER = {"type": "string", "enum": ["small", "large"], "default": "small"}


def web_type(**more: Any) -> component_type_pb2.ComponentType:
    body: dict[str, Any] = {
        "name": WEB,
        "parameters": {"type": "object", "properties": {"tier": TIER}},
        "environmentParameters": {
            "type": "object",
            "properties": {"color": {"type": "string", "default": "blue"}},
        },
        "resources": [
            {
                "template": "settings",
                "manifest": {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": "${names.service}-settings"},
                    "data": {
                        "tier": "${parameters.tier}",
                        "color": "${environmentParameters.color}",
                    },
                },
            }
        ],
    }
    return ParseDict(body | more, component_type_pb2.ComponentType())


def note(**more: Any) -> trait_pb2.Trait:
    body: dict[str, Any] = {
        "name": NOTE,
        "parameters": {
            "type": "object",
            "required": ["text"],
            "properties": {"text": {"type": "string"}},
        },
        "patches": [
            {
                "target": {"kind": "ConfigMap"},
                "operations": [
                    {"action": "ADD", "path": "/data/note", "value": "${parameters.text}"}
                ],
            }
        ],
    }
    return ParseDict(body | more, trait_pb2.Trait())


def typed(id: str = "front", **more: Any) -> component_pb2.Component:
    made = component(id, type=WEB)
    ParseDict(more, made)
    return made


async def read(api: Api, name: str) -> component_pb2.Component:
    return await api.components.GetComponent(component_pb2.GetComponentRequest(name=name))


async def test_a_component_follows_its_type_and_one_that_pins_does_not(shop: Api) -> None:
    """A change of a type is a new version: followers get a new release, nobody else is touched."""
    plain = component("plain")
    await shop.apply(web_type(), note(), plain, typed())
    pinned = typed("pinned", typeVersion=1)
    await shop.apply(pinned)
    before = {i: await read(shop, f"{SHOP}/components/{i}") for i in ("front", "pinned", "plain")}
    assert before["front"].resolved_type == f"{WEB}/componentTypeVersions/v1"

    wider = {"type": "object", "properties": {"tier": TIER, "size": {"type": "integer"}}}
    answer = await shop.apply(web_type(parameters=wider))

    assert len(answer.resources) == 1
    after = {i: await read(shop, f"{SHOP}/components/{i}") for i in before}
    assert after["front"].resolved_type == f"{WEB}/componentTypeVersions/v2"
    assert after["front"].latest_release != before["front"].latest_release
    assert after["pinned"] == before["pinned"]
    assert after["plain"] == before["plain"]
    resolved = await shop.resolved()
    made = {c.component: c for c in resolved.components}
    assert made["front"].type.definition.definition == f"{WEB}/componentTypeVersions/v2"
    assert made["pinned"].type.definition.definition == f"{WEB}/componentTypeVersions/v1"
    assert not made["plain"].HasField("type")
    versions = component_type_version_pb2_grpc.ComponentTypeVersionServiceStub(shop.user)
    listed = await versions.ListComponentTypeVersions(
        component_type_version_pb2.ListComponentTypeVersionsRequest(parent=WEB)
    )
    assert [v.snapshot.version for v in listed.component_type_versions] == [1, 2]


async def test_the_same_type_again_is_no_new_version(shop: Api) -> None:
    """What is for people changes no version, and no release."""
    await shop.apply(web_type(), typed())
    before = await read(shop, f"{SHOP}/components/front")
    answer = await shop.apply(web_type(), typed())
    assert [r.outcome for r in answer.resources] == [3, 3]
    await shop.apply(web_type(description="For shops."))
    assert await read(shop, f"{SHOP}/components/front") == before


async def test_an_environment_gives_its_own_parameters(shop: Api) -> None:
    """What a deployment overrides reaches the compiler as parameters of the environment."""
    await shop.apply(web_type(), typed(parameters={"tier": "large"}))
    release = (await read(shop, f"{SHOP}/components/front")).latest_release
    name = f"{SHOP}/components/front/deployments/development"
    deployment = deployment_pb2.Deployment(name=name, release=release)
    deployment.overrides.parameters.update({"color": "red"})
    await shop.apply(deployment)
    (front,) = (await shop.resolved(SHOP_DEV)).components
    assert dict(front.type.parameters) == {"tier": "large"}
    assert dict(front.type.environment_parameters) == {"color": "red"}
    deployment.overrides.parameters.update({"color": 3})
    failed = await failure(shop.apply(deployment))
    assert {r for _, r in findings(failed)} == {"PARAMETER_INVALID"}


@pytest.mark.parametrize(
    ("written", "field", "reason"),
    [
        ({"parameters": {"tier": "huge"}}, "parameters.tier", "PARAMETER_INVALID"),
        ({"parameters": {"teir": "small"}}, "parameters.teir", "PARAMETER_UNKNOWN"),
        ({"typeVersion": 9}, "type_version", "VERSION_NOT_FOUND"),
        (
            {"traits": [{"instance": "n", "trait": NOTE, "parameters": {}}]},
            "traits[0].parameters.text",
            "PARAMETER_INVALID",
        ),
        (
            {"traits": [{"instance": "n", "trait": f"{ORG}/traits/none"}]},
            "traits[0].trait",
            "REFERENCE_NOT_FOUND",
        ),
    ],
)
async def test_what_does_not_fit_its_type_is_refused(
    shop: Api, written: dict[str, Any], field: str, reason: str
) -> None:
    """A component is refused where it is written, with the path of the field."""
    await shop.apply(web_type(), note())
    failed = await failure(shop.apply(typed(**written)))
    assert (f"resources[0].{field}", reason) in findings(failed)


async def test_a_type_says_which_traits_kinds_and_policies_its_components_have(shop: Api) -> None:
    """Everything that a type does not allow is a finding of the component."""
    strict = web_type(
        allowedTraits=[f"{ORG}/traits/other"],
        componentKinds=["COMPONENT_KIND_WORKER"],
        requiredPolicies=["REQUIRED_POLICY_AUTHENTICATION"],
    )
    await shop.apply(strict, note())
    front = typed(traits=[{"instance": "n", "trait": NOTE, "parameters": {"text": "x"}}])
    front.endpoints.add(endpoint="http", port=80, protocol=1, visibilities=[1])
    failed = await failure(shop.apply(front))
    assert {r for _, r in findings(failed)} == {
        "KIND_MISMATCH",
        "TRAIT_NOT_ALLOWED",
        "POLICY_REQUIRED",
    }


async def test_a_type_that_breaks_who_uses_it_is_refused(shop: Api) -> None:
    """A change of a type is checked against every component that would follow it."""
    await shop.apply(web_type(), typed(parameters={"tier": "large"}))
    small = {"type": "object", "properties": {"tier": {"type": "string", "enum": ["small"]}}}
    failed = await failure(shop.apply(web_type(parameters=small)))
    assert findings(failed) == {("parameters.tier", "PARAMETER_INVALID")}
    assert (await read(shop, f"{SHOP}/components/front")).resolved_type.endswith("/v1")


async def test_a_type_in_use_is_not_deleted(shop: Api) -> None:
    """A type goes when nobody has it, and its versions with it."""
    await shop.apply(web_type(), typed())
    stub = _types(shop)
    request = component_type_pb2.DeleteComponentTypeRequest(name=WEB)
    assert (await failure(stub.DeleteComponentType(request))).reason == "RESOURCE_IN_USE"
    await shop.components.DeleteComponent(
        component_pb2.DeleteComponentRequest(name=f"{SHOP}/components/front", force=True)
    )
    await stub.DeleteComponentType(request)


async def test_a_type_that_cannot_work_is_refused(shop: Api) -> None:
    """Expressions are checked against the schema when a type is written."""
    broken = web_type()
    broken.resources[0].manifest["data"]["tier"] = "${parameters.teir + 1}"
    failed = await failure(shop.apply(broken))
    (finding,) = failed.violations
    assert finding.field == "resources[0].resources[0].manifest.data.tier"
    assert 'there is no field "teir": did you mean "tier"?' in finding.message


def _types(api: Api) -> Any:
    from cellplane.api.model.v1 import component_type_pb2_grpc

    return component_type_pb2_grpc.ComponentTypeServiceStub(api.user)


async def test_a_change_tells_whom_it_would_change_before_it_is_made(shop: Api) -> None:
    """Followers are rendered as they are and as they would be; pinned ones and others are not."""
    await shop.apply(web_type(), note(), component("plain"), typed(), typed("back"))
    await shop.apply(typed("pinned", typeVersion=1))
    resources = web_type()
    resources.resources[0].manifest["data"]["tier"] = "size ${parameters.tier}"
    stub = type_impact_pb2_grpc.TypeImpactServiceStub(shop.user)
    request = type_impact_pb2.AnalyzeTypeChangesRequest(parent=ORG, component_types=[resources])

    answer = await stub.AnalyzeTypeChanges(request)

    assert (answer.follower_count, answer.pinned_count) == (2, 1)
    names = [impact.component for impact in answer.impacts]
    assert names == [f"{SHOP}/components/back", f"{SHOP}/components/front"]
    (impact, _) = answer.impacts
    assert impact.immediate
    (change,) = impact.changes
    assert change.object == "ConfigMap back-settings"
    (field,) = change.fields
    assert (field.path, field.old_value, field.new_value) == (
        "/data/tier",
        '"small"',
        '"size small"',
    )
    assert (await read(shop, f"{SHOP}/components/front")).resolved_type.endswith("/v1")
    same = type_impact_pb2.AnalyzeTypeChangesRequest(parent=ORG, component_types=[web_type()])
    assert not (await stub.AnalyzeTypeChanges(same)).impacts
    await shop.apply(resources)
    made = {c.component: c for c in (await shop.resolved()).components}
    assert {n for n, c in made.items() if c.type.definition.definition.endswith("/v2")} == {
        "back",
        "front",
    }


async def test_what_cannot_be_rendered_is_refused_where_it_is_written(shop: Api) -> None:
    """Two traits on one field, and an expression that fails, are findings of who has them."""
    failing = note(name=f"{ORG}/traits/failing")
    failing.patches[0].operations[0].path = "/data/other"
    failing.patches[0].operations[0].value.string_value = "${parameters.text.split('-')[4]}"
    await shop.apply(web_type(), note(), failing)
    twice = [{"instance": i, "trait": NOTE, "parameters": {"text": "x"}} for i in ("one", "two")]
    conflict = await failure(shop.apply(typed(traits=twice)))
    (finding,) = conflict.violations
    assert finding.reason == "PATCH_CONFLICT"
    assert finding.message == (
        'traits "one" and "two" both patch /data/note of ConfigMap front-settings: remove one of '
        "them, or have one trait do both"
    )
    used = [{"instance": "f", "trait": failing.name, "parameters": {"text": "a-b"}}]
    failed = await failure(shop.apply(typed(traits=used)))
    (finding,) = failed.violations
    assert finding.reason == "EXPRESSION_FAILED"
    assert "index 4 of a list with 2 items: expected 0 to 1" in finding.message


async def test_the_standard_methods(shop: Api) -> None:
    """Created, listed by a filter, changed by a mask with an etag, as everything else."""
    types = _types(shop)
    made = await types.CreateComponentType(
        component_type_pb2.CreateComponentTypeRequest(
            parent=ORG, component_type_id="web", component_type=web_type()
        )
    )
    assert (made.name, made.version) == (WEB, 1)
    change = web_type(etag=made.etag, description="Ours.")
    change.resources[0].manifest["data"]["more"] = "yes"
    changed = await types.UpdateComponentType(
        component_type_pb2.UpdateComponentTypeRequest(
            component_type=change, update_mask=FieldMask(paths=["resources"])
        )
    )
    assert (changed.version, changed.description) == (2, "")
    stale = component_type_pb2.UpdateComponentTypeRequest(component_type=change)
    assert (await failure(types.UpdateComponentType(stale))).reason == "ETAG_MISMATCH"
    await shop.apply(web_type(name=f"{ORG}/componentTypes/other"))
    for written, names in (("version > 1", [WEB]), ('display_name = "x"', [])):
        listed = await types.ListComponentTypes(
            component_type_pb2.ListComponentTypesRequest(parent=ORG, filter=written)
        )
        assert [found.name for found in listed.component_types] == names
