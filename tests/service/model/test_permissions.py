"""Who may do and see what, by a file of roles: for single resources, and before anything else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cellplane.api.model.v1 import (
    access_grant_pb2,
    catalog_pb2,
    cell_pb2,
    component_pb2,
    deletion_pb2,
    deletion_pb2_grpc,
    organization_pb2,
    project_pb2,
    resource_change_pb2,
    resource_change_pb2_grpc,
    resource_pb2,
)
from cellplane.rpc.roles import RoleFile
from tests.service.model.conftest import serving
from tests.service.model.world import (
    ORG,
    ORGANIZATION,
    PAY,
    PAY_DEV,
    SHOP,
    SHOP_DEV,
    Api,
    component,
    connection,
    endpoint,
    failure,
    pack,
    platform,
)

pytestmark = pytest.mark.asyncio
_CHARGE = f"{PAY}/components/charge"
_CART = f"{SHOP}/components/cart"
_ROLES = f"""
[roles]
developer = ["*.get", "*.list", "*.search", "*.watch", "components.*", "resources.apply",
             "accessGrants.*", "deletions.*"]

[[bindings]]
users = ["admin"]
permissions = ["*"]

[[bindings]]
users = ["shopper"]
role = "developer"
resources = ["{SHOP}"]

[[bindings]]
users = ["payer"]
role = "developer"
resources = ["{PAY}"]

[[bindings]]
users = ["writer"]
permissions = ["components.create", "deletions.start"]
resources = ["{SHOP}"]

[[bindings]]
users = ["lister"]
permissions = ["components.list"]
"""


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A model with users of several roles: one project's, another's, and some with little."""
    roles = tmp_path / "roles.toml"
    roles.write_text(_ROLES)
    users = ("shopper", "payer", "writer", "lister", "nobody")
    async with serving(
        tmp_path, f"sqlite:///{tmp_path}/model.db", roles=RoleFile(roles), users=users
    ) as made:
        await made.apply(
            *platform(),
            component("charge", project=PAY, endpoints=[endpoint(visible=[ORGANIZATION])]),
            component("cart", connections=[connection(_CHARGE)]),
        )
        yield made


def get(api: Api, name: str) -> object:
    return api.components.GetComponent(component_pb2.GetComponentRequest(name=name))


async def test_what_may_not_be_seen_is_told_alike_be_it_there_or_not(api: Api) -> None:
    """One answer for a resource that exists, one that does not, and one whose name is wrong."""
    mine = api.others["shopper"]
    assert (await mine.components.GetComponent(component_pb2.GetComponentRequest(name=_CART))).uid
    answers = [
        await failure(get(mine, name))
        for name in (_CHARGE, f"{PAY}/components/none", f"{PAY}/components/NO GOOD")
    ]
    none = await failure(get(api.others["nobody"], _CART))
    missing = await failure(get(mine, f"{SHOP}/components/none"))

    assert {(a.code, a.reason) for a in answers} == {("PERMISSION_DENIED", "PERMISSION_DENIED")}
    for answer, name in zip(answers, (_CHARGE, f"{PAY}/components/none"), strict=False):
        assert answer.message.startswith(
            f"Permission 'components.get' denied on resource '{name}' (or it might not exist)"
        )
    assert (none.code, none.metadata["permission"]) == ("PERMISSION_DENIED", "components.get")
    assert missing.code == "NOT_FOUND"


async def test_lists_hold_what_may_be_read_and_nothing_else(api: Api) -> None:
    """Across projects one's own; a project of others is denied; pages lead through all the same."""
    mine, request = api.others["shopper"], component_pb2.ListComponentsRequest(page_size=1)
    request.parent = f"{ORG}/projects/-"
    found = []
    while True:
        page = await mine.components.ListComponents(request)
        found += [c.name for c in page.components]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    projects = await mine.projects.ListProjects(project_pb2.ListProjectsRequest(parent=ORG))
    organizations = await mine.organizations.ListOrganizations(
        organization_pb2.ListOrganizationsRequest()
    )
    cells = await mine.cells_as_user.ListCells(
        cell_pb2.ListCellsRequest(parent=f"{ORG}/projects/-")
    )
    searched = await mine.catalog.SearchCatalogEntries(
        catalog_pb2.SearchCatalogEntriesRequest(parent=ORG)
    )
    request = component_pb2.ListComponentsRequest(parent=PAY)
    denied = await failure(mine.components.ListComponents(request))
    names_alone = await api.others["lister"].components.ListComponents(request)
    both = component_pb2.BatchGetComponentsRequest(
        parent=f"{ORG}/projects/-", names=[_CART, _CHARGE]
    )
    batch = await failure(mine.components.BatchGetComponents(both))

    assert found == [_CART]
    assert [p.name for p in projects.projects] == [SHOP]
    assert list(organizations.organizations) == []
    assert {c.name for c in cells.cells} == {SHOP_DEV}
    assert list(searched.catalog_entries) == []
    assert denied.code == "PERMISSION_DENIED"
    assert list(names_alone.components) == []
    assert (batch.code, batch.metadata["resource"]) == ("PERMISSION_DENIED", _CHARGE)


async def test_a_watch_and_a_history_tell_of_what_may_be_read(api: Api) -> None:
    """Of the whole organization's feed and changes, those of one's own project arrive."""
    mine = api.others["shopper"]
    names = set()
    async for answer in mine.resources.WatchResources(
        resource_pb2.WatchResourcesRequest(parent=ORG)
    ):
        if answer.change.resource_name:
            names.add(answer.change.resource_name)
        if answer.change.type == answer.change.SYNCED:
            break
    stub = resource_change_pb2_grpc.ResourceChangeServiceStub(mine.user)
    request = resource_change_pb2.ListResourceChangesRequest(parent=ORG, page_size=500)
    changed = (await stub.ListResourceChanges(request)).resource_changes

    assert {SHOP, _CART, SHOP_DEV} <= names
    assert all(name == SHOP or name.startswith(f"{SHOP}/") for name in names)
    assert {c.resource_name for c in changed} >= {SHOP, _CART}
    assert not any(c.resource_name.startswith((PAY, f"{ORG}/environments")) for c in changed)


async def test_writes_need_the_permission_for_their_resource(api: Api) -> None:
    """Apply, create, update and a creating update: each for its own name, and before validation."""
    mine = api.others["shopper"]
    await mine.apply(component("cart", image="app:2", connections=[connection(_CHARGE)]))
    both = pack([component("cart"), component("charge", project=PAY)])
    applied = await failure(
        mine.resources.ApplyResources(resource_pb2.ApplyResourcesRequest(resources=both))
    )
    foreign = component_pb2.UpdateComponentRequest(component=component_pb2.Component(name=_CHARGE))
    updated = await failure(mine.components.UpdateComponent(foreign))
    new = component_pb2.UpdateComponentRequest(
        component=component("new"), allow_missing=True, validate_only=True
    )
    made = await failure(api.others["writer"].components.UpdateComponent(new))
    tried = await mine.components.UpdateComponent(new)

    assert (applied.code, applied.metadata["resource"]) == ("PERMISSION_DENIED", _CHARGE)
    assert (updated.code, updated.metadata["permission"]) == (
        "PERMISSION_DENIED",
        "components.update",
    )
    assert made.code == "PERMISSION_DENIED"
    assert tried.name == f"{SHOP}/components/new"


async def test_what_exists_is_hidden_from_who_may_only_create(api: Api) -> None:
    """A taken id is a denial to somebody who may not read what has it, and is told to others."""
    request = component_pb2.CreateComponentRequest(
        parent=SHOP, component_id="cart", component=component("cart")
    )
    hidden = await failure(api.others["writer"].components.CreateComponent(request))
    told = await failure(api.others["shopper"].components.CreateComponent(request))
    request.component_id = "fresh"
    fresh = await api.others["writer"].components.CreateComponent(request)

    assert (hidden.code, hidden.metadata["permission"]) == ("PERMISSION_DENIED", "components.get")
    assert told.code == "ALREADY_EXISTS"
    assert fresh.name == f"{SHOP}/components/fresh"


async def test_to_start_a_deletion_is_to_delete(api: Api) -> None:
    """Beside the permission to start one, that to delete the kind is needed; a plan needs `get`."""
    start = deletion_pb2.StartDeletionRequest(name=_CART, force=True, validate_only=True)
    project = deletion_pb2.StartDeletionRequest(name=SHOP, force=True, validate_only=True)
    plan = deletion_pb2.PlanDeletionRequest(name=_CHARGE)

    def stub(user: str) -> deletion_pb2_grpc.DeletionServiceStub:
        return deletion_pb2_grpc.DeletionServiceStub(api.others[user].user)

    without = await failure(stub("writer").StartDeletion(start))
    other_kind = await failure(stub("shopper").StartDeletion(project))
    done = await stub("shopper").StartDeletion(start)
    planned = await failure(stub("shopper").PlanDeletion(plan))

    assert (without.code, without.metadata["permission"]) == (
        "PERMISSION_DENIED",
        "components.delete",
    )
    assert other_kind.metadata["permission"] == "projects.delete"
    assert done.done
    assert planned.code == "PERMISSION_DENIED"


async def test_the_provider_decides_on_grants(api: Api) -> None:
    """A consumer asks for its own project and reads the answer; only the offering side decides."""
    await api.apply(
        component(
            "charge",
            project=PAY,
            endpoints=[endpoint(visible=[ORGANIZATION], requires_grant=True)],
        )
    )
    shopper, payer = api.others["shopper"].grants, api.others["payer"].grants
    ask = access_grant_pb2.CreateAccessGrantRequest(
        parent=_CHARGE, access_grant=access_grant_pb2.AccessGrant(endpoint="http", consumer=SHOP)
    )
    for_others = await failure(payer.CreateAccessGrant(ask))
    grant = await shopper.CreateAccessGrant(ask)
    name = grant.name
    approve = access_grant_pb2.ApproveAccessGrantRequest(name=name)
    revoke = access_grant_pb2.RevokeAccessGrantRequest(name=name)
    deny = access_grant_pb2.DenyAccessGrantRequest(name=name)
    own = [
        await failure(shopper.ApproveAccessGrant(approve)),
        await failure(shopper.DenyAccessGrant(deny)),
        await failure(shopper.RevokeAccessGrant(revoke)),
    ]
    active = await payer.ApproveAccessGrant(approve)
    read = await shopper.GetAccessGrant(access_grant_pb2.GetAccessGrantRequest(name=name))
    listed = await shopper.ListAccessGrants(
        access_grant_pb2.ListAccessGrantsRequest(parent=f"{ORG}/projects/-/components/-")
    )
    strangers = [
        await failure(
            shopper.GetAccessGrant(access_grant_pb2.GetAccessGrantRequest(name=f"{name}{end}"))
        )
        for end in ("0", "1")
    ]
    revoked = await payer.RevokeAccessGrant(revoke)

    assert for_others.code == "PERMISSION_DENIED"
    assert {f.code for f in own} == {"PERMISSION_DENIED"}
    assert active.state == access_grant_pb2.AccessGrant.ACTIVE
    assert active.decider == "payer"
    assert read.state == access_grant_pb2.AccessGrant.ACTIVE
    assert [g.name for g in listed.access_grants] == [name]
    assert {f.code for f in strangers} == {"PERMISSION_DENIED"}
    assert revoked.state == access_grant_pb2.AccessGrant.REVOKED


async def test_a_cell_of_others_is_not_read(api: Api) -> None:
    """A permission for a project is one for its Cells, and for no other's."""
    mine = api.others["shopper"].cells_as_user
    assert (await mine.GetCell(cell_pb2.GetCellRequest(name=SHOP_DEV))).name == SHOP_DEV
    denied = await failure(mine.GetCell(cell_pb2.GetCellRequest(name=PAY_DEV)))
    assert denied.code == "PERMISSION_DENIED"
