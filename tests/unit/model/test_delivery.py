"""What is sent, how it is signed, and where it may go."""

from __future__ import annotations

import base64
import ipaddress
import json
import socket
from datetime import UTC, datetime

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from cellplane.api.model.v1 import component_pb2, event_subscription_pb2
from cellplane.api.type.v1 import workload_pb2
from cellplane.model.delivery.addresses import Guard, Refused
from cellplane.model.delivery.deliverer import wants
from cellplane.model.delivery.event import body_of
from cellplane.model.delivery.signature import headers, new_secret, show
from cellplane.model.domain.resources import EventSubscription
from cellplane.model.domain.validate_events import validate_event_subscription
from cellplane.store.history import Event
from cellplane.store.resources import ChangeType, Recorded

CART = "organizations/acme/projects/shop/components/cart"


def changed(name: str = CART, kind: str = "Component", before: str = "a:1") -> Event:
    """A component's change of image."""

    def payload(image: str) -> bytes:
        workload = workload_pb2.Workload(image=image)
        return component_pb2.Component(name=name, workload=workload).SerializeToString()

    change = Recorded(
        sequence=7,
        type=ChangeType.UPDATED,
        name=name,
        kind=kind,
        time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        actor="spiffe://cellplane.local/users/ann",
        payload=payload("a:2"),
    )
    return Event(change=change, before=payload(before))


def test_a_signature_is_that_of_the_standard() -> None:
    """The published example of Standard Webhooks gives the published signature."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = headers(
        [secret],
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert made == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_two_secrets_give_two_signatures() -> None:
    """While a secret is changed over, a receiver with either of them is served."""
    one, two = new_secret(), new_secret()
    both = headers([one, two], message_id="1", timestamp=2, body=b"")["webhook-signature"]
    alone = [
        headers([s], message_id="1", timestamp=2, body=b"")["webhook-signature"] for s in (one, two)
    ]
    assert both.split(" ") == alone
    assert base64.b64decode(show(one).removeprefix("whsec_")) == one


def test_an_event_is_a_cloud_event() -> None:
    """It has the required attributes, who did it, which fields changed, and the resource."""
    event = json.loads(body_of(changed()))
    assert {k: event[k] for k in ("specversion", "id", "source", "type", "subject", "time")} == {
        "specversion": "1.0",
        "id": "7",
        "source": "/organizations/acme",
        "type": "dev.cellplane.component.updated",
        "subject": CART,
        "time": "2026-01-02T03:04:05Z",
    }
    data = event["data"]
    assert data["actor"] == "spiffe://cellplane.local/users/ann"
    assert data["fields"] == [{"path": "workload.image", "oldValue": "a:1", "newValue": "a:2"}]
    assert data["resource"]["workload"]["image"] == "a:2"


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, True),
        ({"kinds": ["Component"]}, True),
        ({"kinds": ["Project"]}, False),
        ({"types": [2]}, True),
        ({"types": [1, 3]}, False),
        ({"scope": "organizations/acme/projects/shop"}, True),
        ({"scope": CART}, True),
        ({"scope": "organizations/acme/projects/sho"}, False),
        ({"name": "organizations/other/eventSubscriptions/s"}, False),
    ],
)
def test_a_subscription_gets_what_it_asks_for(asked: dict[str, object], wanted: bool) -> None:
    """Kind, type and scope each narrow what is told; another organization is never told."""
    name = {"name": "organizations/acme/eventSubscriptions/s"}
    subscription = event_subscription_pb2.EventSubscription(**(name | asked))  # type: ignore[arg-type]
    assert wants(subscription, changed().change) is wanted


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - refused here
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "fe80::1",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "ff02::1",
    ],
)
def test_nothing_is_delivered_inside(address: str) -> None:
    """Private, local, shared and metadata addresses are refused, however they are written."""
    with pytest.raises(Refused):
        Guard(()).check(ipaddress.ip_address(address), "host")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_the_internet_may_be_told(address: str) -> None:
    """Global addresses are let through."""
    Guard(()).check(ipaddress.ip_address(address), "host")


def test_an_operator_may_open_a_network() -> None:
    """A network that is named is let through, also inside of an IPv6 address; others are not."""
    guard = Guard([ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::7"):
        guard.check(ipaddress.ip_address(address), "host")
    with pytest.raises(Refused):
        guard.check(ipaddress.ip_address("10.2.0.1"), "host")
    with pytest.raises(Refused):
        guard.check_url("https://10.2.0.1/hook")


class Names(AbstractResolver):
    """A resolver that knows a few names."""

    def __init__(self, **known: list[str]) -> None:
        self._known = known

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Addresses of a name."""
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self._known[host]
        ]

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.asyncio
async def test_a_name_is_judged_by_all_its_addresses() -> None:
    """A name that leads inside with one of its addresses is refused, so no connection is made."""
    guard = Guard((), Names(good=["8.8.8.8"], mixed=["8.8.8.8", "169.254.169.254"]))
    assert [r["host"] for r in await guard.resolve("good", 443)] == ["8.8.8.8"]
    with pytest.raises(Refused, match="mixed leads to"):
        await guard.resolve("mixed", 443)
    await guard.close()


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, []),
        ({"url": "http://localhost:8080/x"}, []),
        ({"url": "http://example.com"}, [("url", "URL_NOT_SECURE")]),
        ({"url": "ftp://example.com"}, [("url", "URL_INVALID")]),
        ({"url": "https://"}, [("url", "URL_INVALID")]),
        ({"url": "https://[::1"}, [("url", "URL_INVALID")]),
        ({"url": "https://a:99999/"}, [("url", "URL_INVALID")]),
        ({"url": "https://u:p@example.com/"}, [("url", "URL_HAS_CREDENTIALS")]),
        ({"url": "https://example.com/#f"}, [("url", "URL_INVALID")]),
        ({"kinds": ("Component", "Pod")}, [("kinds[1]", "KIND_UNKNOWN")]),
        ({"scope": "projects/x"}, [("scope", "NAME_INVALID")]),
        ({"scope": "organizations/o"}, [("scope", "OTHER_ORGANIZATION")]),
    ],
)
def test_what_is_wrong_with_a_subscription(
    fields: dict[str, object], found: list[tuple[str, str]]
) -> None:
    """Every finding has its field, and none shows a password."""
    name = "organizations/acme/eventSubscriptions/s"
    subscription = EventSubscription(**({"name": name, "url": "https://e.com/h"} | fields))  # type: ignore[arg-type]
    problems = validate_event_subscription(subscription)
    assert [(p.field, p.reason) for p in problems] == found
    assert all("u:p" not in p.message + p.value for p in problems)
