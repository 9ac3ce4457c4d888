"""Reads what the catalog is exported from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellplane.model.catalog.exchange.backstage import Picture


async def read(profile: Any) -> Picture:
    """Everything of an organization that an export tells."""
    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import by_name
    from cellplane.cli.render.document import plain
    from cellplane.model.catalog.exchange.backstage import Picture

    parent = f"organizations/{profile.organization}"
    async with Client(profile) as client:
        organization = await client.get(by_name("Organization"), parent)

        async def every(kind: str) -> list[dict[str, Any]]:
            own = by_name(kind)
            found = client.list(own, own.parent(profile.organization))
            return [plain(one) async for one in found]

        entries = await every("CatalogEntry")
        named = {e["offer"]["apiSchema"] for e in entries if e.get("offer", {}).get("apiSchema")}
        schemas: dict[str, dict[str, Any]] = {}
        for name in sorted(named):
            schema = await client.find(by_name("ApiSchema"), name)
            if schema is not None:
                schemas[name] = plain(schema)
        return Picture(
            organization=plain(organization),
            projects=await every("Project"),
            components=await every("Component"),
            environments=await every("Environment"),
            entries=entries,
            schemas=schemas,
        )
