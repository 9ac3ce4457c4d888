"""Who reaches whom, asked of the services and of documents."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.cli.conftest import SAMPLES, Answer

Run = Callable[..., Answer]
pytestmark = pytest.mark.usefixtures("samples")

DOCUMENTS = [f"-f{SAMPLES / name}" for name in ("platform", "payments", "boutique")]
OFFLINE = [*DOCUMENTS, f"--data-plane={SAMPLES / 'planes' / 'cilium.yaml'}"]


@pytest.fixture
def placed(cellplane: Run, samples: None, folder: Path) -> None:
    """The samples' Cells in development, on one data plane."""
    del samples
    one_copy = "kind: Environment\nname: environments/development\nplacement: {copies: 1}\n"
    (folder.parent / "reach.yaml").write_text(one_copy)
    assert cellplane("apply", "-f", folder.parent / "reach.yaml").code == 0
    for project in ("payments", "boutique"):
        cell = f"{project}/development"
        placed = cellplane("wait", "cell", cell, "--for=condition=Placed", "--timeout=60s")
        assert placed.code == 0, placed.err


@pytest.mark.parametrize(
    ("source", "destination", "code", "told"),
    [
        ("boutique/frontend", "boutique/cartservice:7070", 0, "component.cartservice ingress[0]"),
        ("boutique/frontend", "boutique/cartservice:9", 1, "denied, as no rule allows it"),
        ("internet", "boutique/frontend:http", 0, "route: endpoint http is public"),
        ("internet", "boutique/cartservice:7070", 1, "ingress: denied"),
        ("other-cell", "payments/charge:50051", 1, "ingress: denied"),
        ("boutique/frontend", "metadata:80", 1, "egress: denied"),
    ],
)
def test_documents_answer_who_reaches_whom(
    cellplane: Run, source: str, destination: str, code: int, told: str
) -> None:
    """Without a server, the answer has its rules, and the exit code says whether it is yes."""
    answer = cellplane("can-reach", source, destination, *OFFLINE)

    assert answer.code == code, answer.err
    assert told in answer.out


@pytest.mark.usefixtures("placed")
def test_the_services_answer_as_documents_do(cellplane: Run) -> None:
    """A running control plane gives the same ways and hops, for each data plane of the Cell."""
    ends = ("boutique/checkoutservice", "payments/charge:grpc")
    live = cellplane("can-reach", *ends, "-e", "development", "-o", "json")
    offline = cellplane("can-reach", *ends, *OFFLINE, "-o", "json")

    (reach,) = json.loads(live.out)["reaches"]
    (known,) = json.loads(offline.out)["reaches"]
    assert reach["dataPlane"] == "paper"
    told = [(w["way"], [h["destination"] for h in w["hops"]]) for w in reach["ways"]]
    assert told == [(w["way"], [h["destination"] for h in w["hops"]]) for w in known["ways"]]
    assert [w["way"] for w in reach["ways"]] == ["direct", "eastbound"]


@pytest.mark.usefixtures("placed")
def test_the_whole_table_of_a_cell_holds(cellplane: Run) -> None:
    """`verify` tries everything on what the data plane gets, and finds nothing wrong."""
    answer = cellplane("verify", "boutique/development")

    assert answer.code == 0, answer.err
    assert "0 not as they must be" in answer.err
    assert "northbound → boutique/frontend:8080" in answer.out


def test_what_nobody_is_called_is_refused(cellplane: Run) -> None:
    """A name that means nobody, and a destination without a port, are usage errors with names."""
    nobody = cellplane("can-reach", "nobody", "boutique/frontend:http", *OFFLINE)
    no_port = cellplane("can-reach", "internet", "boutique/frontend", *OFFLINE)

    assert nobody.code == no_port.code == 2
    assert "internet" in nobody.err
    assert "has no port" in no_port.err


def test_a_diff_says_what_opens_and_closes(cellplane: Run, tmp_path: Path) -> None:
    """Before an apply, a change of visibility shows the connections that it makes and ends."""
    whole = (SAMPLES / "boutique" / "cartservice.yaml").read_text()
    (tmp_path / "cart.yaml").write_text(whole.replace("port: 7070", "port: 7071"))

    answer = cellplane("diff", "-f", tmp_path / "cart.yaml")

    assert answer.code == 8, answer.err
    assert "development: opens   boutique/frontend → boutique/cartservice:7071" in answer.out
    assert "development: closes  boutique/frontend → boutique/cartservice:7070" in answer.out
