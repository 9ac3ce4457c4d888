"""``diff`` of what is released: two releases, or what two environments have of a project."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def releases(profile: Any, one: str, other: str) -> tuple[list[str], int]:
    """Lines, and how many things differ."""
    from cellplane.cli.engine import run
    from cellplane.cli.kinds import by_name

    kind = by_name("Release")
    names = [kind.parse(name, profile.organization) for name in (one, other)]
    before, after = run(_releases(profile, names))
    lines = list(_difference(_text(before), _text(after), *map(kind.short, names)))
    return lines, int(bool(lines))


def environments(profile: Any, project: str, source: str, target: str) -> tuple[list[str], int]:
    """Lines, and how many components differ: each as it is there, with its overrides."""
    from cellplane.cli.engine import run
    from cellplane.cli.kinds import by_name

    parent = by_name("Project").parse(project, profile.organization)
    found = run(_deployed(profile, parent))
    lines: list[str] = []
    count = 0
    for component in sorted(found):
        there = {word: found[component].get(word) for word in (source, target)}
        texts = {word: "" if own is None else _text(own[1], own[0]) for word, own in there.items()}
        label = component.rsplit("/", 1)[-1]
        made = list(
            _difference(
                texts[target], texts[source], f"{label} in {target}", f"{label} in {source}"
            )
        )
        lines += made
        count += bool(made)
    return lines, count


async def _releases(profile: Any, names: list[str]) -> list[Any]:
    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import by_name

    async with Client(profile) as client:
        return [await client.get(by_name("Release"), name) for name in names]


async def _deployed(profile: Any, project: str) -> dict[str, dict[str, tuple[Any, Any]]]:
    """By component and environment: the deployment, and its release."""
    from cellplane.cli.calls import call
    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import by_name

    found: dict[str, dict[str, tuple[Any, Any]]] = {}
    parent = f"{project}/components/-"
    async with Client(profile) as client:
        there = [d async for d in client.list(by_name("Deployment"), parent)]
        names = sorted({deployment.release for deployment in there})
        known: dict[str, Any] = {}
        for start in range(0, len(names), 1000):
            page = await call(
                client,
                "ReleaseService.BatchGetReleases",
                parent=parent,
                names=names[start : start + 1000],
            )
            known |= {release.name: release for release in page.releases}
    for deployment in there:
        component, _, environment = deployment.name.rpartition("/deployments/")
        own = (deployment, known[deployment.release])
        found.setdefault(component, {})[environment] = own
    return found


def _text(release: Any, deployment: Any = None) -> str:
    from google.protobuf.json_format import MessageToDict

    from cellplane.cli.render.document import dump

    told = MessageToDict(release.snapshot)
    told.pop("name", None)
    told = {"release": release.name.rsplit("/", 1)[-1]} | told
    if deployment is not None and deployment.HasField("overrides"):
        told["overrides"] = MessageToDict(deployment.overrides)
    return dump(told)


def _difference(before: str, after: str, old: str, new: str) -> Iterator[str]:
    import difflib
    import sys

    from cellplane.cli.render.output import colours, paint

    styles = {"+": "green", "-": "red", "@": "blue"}
    on = colours(sys.stdout)
    for line in difflib.unified_diff(
        before.splitlines(), after.splitlines(), old, new, lineterm=""
    ):
        yield paint(line, styles.get(line[:1], ""), on=on)
