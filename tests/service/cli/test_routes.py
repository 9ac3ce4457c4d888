"""How endpoints are called and what a request meets, asked of a service and of documents."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.service.cli.conftest import SAMPLES, Answer

Run = Callable[..., Answer]
pytestmark = pytest.mark.usefixtures("samples")

DOCUMENTS = [f"-f{SAMPLES / name}" for name in ("platform", "payments", "boutique")]
OFFLINE = [*DOCUMENTS, f"--data-plane={SAMPLES / 'planes' / 'cilium.yaml'}"]
SHOP = "boutique/development"


def test_a_service_and_documents_show_the_same_endpoints(cellplane: Run) -> None:
    """Each endpoint is listed with everyone who may call it, by the same URLs."""
    live = cellplane("endpoints", SHOP, "-o", "json")
    offline = cellplane("endpoints", SHOP, *OFFLINE, "-o", "json")

    assert (live.code, offline.code) == (0, 0), live.err + offline.err
    assert json.loads(live.out) == json.loads(offline.out)
    public = [row for row in json.loads(live.out) if row["caller"] == "public"]
    assert [row["component"] for row in public] == ["frontend"]


def test_a_request_is_explained(cellplane: Run) -> None:
    """A URL that is shown meets a route; another host or caller meets none, and hears which do."""
    (url,) = [
        row["url"]
        for row in json.loads(cellplane("endpoints", SHOP, *OFFLINE, "-o", "json").out)
        if row["caller"] == "public"
    ]
    met = cellplane("route", "explain", "GET", url, f"--cell={SHOP}")
    elsewhere = cellplane(
        "route", "explain", "GET", "https://a.example/", f"--cell={SHOP}", *OFFLINE
    )
    inside = cellplane(
        "route", "explain", "GET", url, f"--cell={SHOP}", "--from=payments", *OFFLINE
    )

    assert met.code == 0, met.err
    assert "component  frontend" in met.out
    assert elsewhere.code == inside.code == 1
    assert "boutique.apps.development" in elsewhere.err
    assert "westbound" in inside.out
