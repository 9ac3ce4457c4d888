"""What a change of documents opens and closes, for ``diff``: Cells' tables before and after.

Resolved and compiled here, as the services would, for a data plane with Cilium; where a project
itself cannot be resolved, the answer of the server already says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cellplane.cli.engine import Client
    from cellplane.network_policy.compiler.survey import Change, Opening

_KINDS: Final = ("Organization", "Environment", "DeploymentPipeline", "Project", "Component")
_PARENTS: Final[Mapping[str, str]] = {
    "Environment": "organizations/{}",
    "DeploymentPipeline": "organizations/{}",
    "Project": "organizations/{}",
    "Component": "organizations/{}/projects/-",
}


async def opens(client: Client, outcomes: list[Any]) -> dict[str, Change]:
    """What the outcomes of an apply would open and close, by environment; none without a change."""
    from cellplane.network_policy.compiler.survey import change

    touched = [o for o in outcomes if o.word != "unchanged" and o.document.kind.name in _KINDS]
    if not touched:
        return {}
    before = await _everything(client)
    after = before | {o.document.name: (o.document.kind, o.after) for o in touched}
    old, new = _openings(before), _openings(after)
    found = {
        environment: change(old.get(environment, set()), new.get(environment, set()))
        for environment in sorted({*old, *new})
    }
    return {name: made for name, made in found.items() if made.opens or made.closes}


def lines(changes: Mapping[str, Change]) -> Iterator[str]:
    """The changes as lines for people."""
    for environment, made in changes.items():
        yield from (f"{environment}: opens   {opening}" for opening in made.opens)
        yield from (f"{environment}: closes  {opening}" for opening in made.closes)


async def _everything(client: Client) -> dict[str, tuple[Any, Any]]:
    """All resources of the organization that a Cell is made of, by name."""
    from cellplane.cli.kinds import by_name

    organization = client.profile.organization
    own = await client.find(by_name("Organization"), f"organizations/{organization}")
    found: dict[str, tuple[Any, Any]] = {}
    if own is None:
        return found
    found[own.name] = (by_name("Organization"), own)
    for word, parent in _PARENTS.items():
        kind = by_name(word)
        async for resource in client.list(kind, parent.format(organization)):
            found[resource.name] = (kind, resource)
    return found


def _openings(resources: Mapping[str, tuple[Any, Any]]) -> dict[str, set[Opening]]:
    from cellplane.cell.plane import CILIUM_POLICY, DataPlaneProfile, Enforcement
    from cellplane.cli.documents.load import Document
    from cellplane.cli.documents.places import Place, Places
    from cellplane.cli.offline import cells, judged

    world = cells.World(
        Document(kind=kind, name=name, resource=message, places=Places(start=Place(name)))
        for name, (kind, message) in resources.items()
    )
    plane = DataPlaneProfile(
        data_plane="any",
        uid="any",
        organization="any",
        trust_domain="any",
        enforcement=Enforcement.ENFORCING,
        capabilities=(CILIUM_POLICY,),
    )
    # The pipeline's first environment is where an apply deploys.
    first = next(iter(cells.environments(world)), "")
    if not first:
        return {}
    resolved = [cell for cell, _ in cells.cells(world, first)]
    return {first: judged.openings(resolved, plane)}
