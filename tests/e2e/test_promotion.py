"""A release goes along the pipeline, by the server's rules."""

from __future__ import annotations

from tests.e2e.conftest import Plane


def test_promotion_from_development_to_staging(plane: Plane) -> None:
    """What runs in development runs in staging; a step that the pipeline lacks is refused."""
    refused = plane.run("promote", "payments", "--from", "development", "--to", "production")
    assert refused.code != 0
    assert "staging" in refused.err

    plane.ok("promote", "payments", "--from", "development", "--to", "staging")
    plane.ok("promote", "boutique", "--from", "development", "--to", "staging")
    for project in ("payments", "boutique"):
        plane.ok(
            "wait", "cell", f"{project}/staging", "--for=ready", "--timeout=120s", patience=150
        )

    development = plane.ok("get", "cell", "boutique/development", "-o", "json").json
    staging = plane.ok("get", "cell", "boutique/staging", "-o", "json").json
    releases = {c["component"]: c["release"] for c in development["components"]}
    assert releases == {c["component"]: c["release"] for c in staging["components"]}
    assert development["namespace"] != staging["namespace"]
