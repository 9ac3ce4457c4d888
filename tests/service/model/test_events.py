"""Events over HTTP, to a real receiver: signed, in order, tried again, given up, taken over."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from cellplane.api.model.v1 import event_subscription_pb2 as pb
from cellplane.api.model.v1 import (
    event_subscription_pb2_grpc,
    resource_change_pb2,
    resource_change_pb2_grpc,
)
from cellplane.model.delivery.deliverer import Patience
from cellplane.model.service import Changes
from cellplane.runtime.tasks import Backoff
from tests.service.model.conftest import serving
from tests.service.model.world import ORG, SHOP, Api, component, failure, findings, platform

pytestmark = pytest.mark.asyncio
NAME = f"{ORG}/eventSubscriptions/hook"
QUICK = Changes(
    networks=(ip_network("127.0.0.0/8"),),
    patience=Patience(backoff=Backoff(initial=0.02, maximum=0.05), attempts=3, timeout=5.0),
)


@dataclass
class Receiver:
    """What others run: notes what it is told, and answers as it is asked to."""

    url: str = ""
    told: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: Callable[[dict[str, Any]], int] = lambda _: 204
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.Response:
        """One delivery."""
        body = await request.read()
        status = self.answers(json.loads(body))
        async with self.news:
            self.told.append((dict(request.headers), body))
            self.news.notify_all()
        return web.Response(status=status, headers={"location": self.url})

    def events(self, subject: str = "") -> list[dict[str, Any]]:
        """What it was told, in order."""
        found = [json.loads(body) for _, body in self.told]
        return [e for e in found if subject in e["subject"]]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(20), self.news:
            await self.news.wait_for(holds)


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on this machine."""
    made = Receiver()
    app = web.Application()
    app.router.add_post("/hook", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield made
    finally:
        await runner.cleanup()


def stub(api: Api) -> event_subscription_pb2_grpc.EventSubscriptionServiceStub:
    """The service."""
    return event_subscription_pb2_grpc.EventSubscriptionServiceStub(api.user)


async def subscribe(api: Api, url: str, **fields: Any) -> pb.EventSubscription:
    """Create the subscription."""
    request = pb.CreateEventSubscriptionRequest(
        parent=ORG,
        event_subscription_id="hook",
        event_subscription=pb.EventSubscription(url=url, **fields),
    )
    return await stub(api).CreateEventSubscription(request)


async def read(api: Api) -> pb.EventSubscription:
    """The subscription as it is."""
    return await stub(api).GetEventSubscription(pb.GetEventSubscriptionRequest(name=NAME))


async def settled(api: Api, holds: Callable[[pb.EventSubscription], bool]) -> pb.EventSubscription:
    """The subscription once something holds of it."""
    async with asyncio.timeout(20):
        while True:
            if holds(found := await read(api)):
                return found


def is_signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Check a signature as a receiver does."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    want = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return f"v1,{want}" in headers["webhook-signature"].split(" ")


async def test_changes_are_told_signed_and_in_order(
    tmp_path: Path, database_url: str, receiver: Receiver
) -> None:
    """Each change behind the subscription is told once, in order, and the secret is shown once."""
    async with serving(tmp_path, database_url, changes=QUICK) as api:
        await api.apply(*platform(), component("before"))
        made = await subscribe(api, receiver.url, kinds=["Component"])
        assert made.secret.startswith("whsec_")
        assert (await read(api)).secret == ""
        for number in range(4):
            await api.apply(component("cart", image=f"app:{number}"))
        await api.apply(component("other"))
        await receiver.until(lambda: len(receiver.told) == 5)
        found = await settled(api, lambda s: s.pending_count == 0)
        rotated = await stub(api).RotateEventSubscriptionSecret(
            pb.RotateEventSubscriptionSecretRequest(name=NAME)
        )
        await api.apply(component("last"))
        await receiver.until(lambda: len(receiver.told) == 6)
    images = [e["data"]["resource"]["workload"]["image"] for e in receiver.events("cart")]
    assert images == ["app:0", "app:1", "app:2", "app:3"]
    assert len({headers["webhook-id"] for headers, _ in receiver.told}) == 6
    assert all(is_signed(made.secret, headers, body) for headers, body in receiver.told)
    assert is_signed(rotated.secret, *receiver.told[-1])
    assert found.last_delivery_time.seconds
    assert [(c.type, c.reason) for c in found.conditions] == [
        ("Delivering", "Delivering"),
        ("DeadLettered", "NothingGivenUp"),
    ]


async def test_one_resource_that_fails_holds_up_no_other(
    tmp_path: Path, database_url: str, receiver: Receiver
) -> None:
    """What fails is tried again and given up, in its order; others go on; it can be redelivered."""
    sick = True
    receiver.answers = lambda e: 302 if sick and e["subject"].endswith("/sick") else 200
    async with serving(tmp_path, database_url, changes=QUICK) as api:
        await api.apply(*platform())
        await subscribe(api, receiver.url, kinds=["Component"])
        for number in range(3):
            await api.apply(
                component("sick", image=f"app:{number}"), component("well", image=f"app:{number}")
            )
        await receiver.until(lambda: len(receiver.events("/well")) == 3)
        given_up = await settled(api, lambda s: s.dead_letter_count == 3)
        assert [e["sequence"] for e in receiver.events("/sick")] == sorted(
            e["sequence"] for e in receiver.events("/sick")
        )
        assert len(receiver.events("/sick")) == 9
        sick = False
        count = await stub(api).RedeliverEvents(pb.RedeliverEventsRequest(name=NAME))
        assert count.event_count == 3
        await settled(api, lambda s: s.dead_letter_count == s.pending_count == 0)
    again = [e["data"]["resource"]["workload"]["image"] for e in receiver.events("/sick")[-3:]]
    assert again == ["app:0", "app:1", "app:2"]
    dead = given_up.conditions[1]
    assert (dead.type, dead.reason) == ("DeadLettered", "AttemptsUsedUp")
    assert "answered 302" in dead.message


async def test_what_waits_outlives_a_restart(
    tmp_path: Path, database_url: str, receiver: Receiver
) -> None:
    """What happened while it was suspended or failed is told by the next process."""
    slow = Changes(
        networks=QUICK.networks,
        patience=Patience(backoff=Backoff(initial=0.2, maximum=0.2), attempts=100),
    )
    receiver.answers = lambda _: 503
    async with serving(tmp_path, database_url, changes=slow) as api:
        await api.apply(*platform())
        await subscribe(api, receiver.url, scope=SHOP, types=["CREATED"], kinds=["Component"])
        await api.apply(component("cart"))
        failing = await settled(api, lambda s: s.conditions[0].reason == "Failing")
        assert failing.pending_count == 1
    receiver.answers = lambda _: 200
    tried = len(receiver.told)
    async with serving(tmp_path, database_url, changes=slow) as api:
        await receiver.until(lambda: len(receiver.told) > tried)
        await settled(api, lambda s: s.pending_count == 0)
    assert {e["subject"] for e in receiver.events()} == {f"{SHOP}/components/cart"}


async def test_nothing_is_delivered_to_where_it_may_not(
    tmp_path: Path, database_url: str, receiver: Receiver
) -> None:
    """Without a setting that opens it, this machine is refused, and the subscription says why."""
    refused = Changes(patience=QUICK.patience)
    async with serving(tmp_path, database_url, changes=refused) as api:
        await api.apply(*platform())
        await subscribe(api, receiver.url, kinds=["Component"])
        await api.apply(component("cart"))
        found = await settled(api, lambda s: s.dead_letter_count == 1)
        assert "no address of the internet" in found.conditions[1].message
        wrong = await failure(subscribe(api, "http://example.com", kinds=["Pod"]))
        assert findings(wrong) == {
            ("event_subscription.url", "URL_NOT_SECURE"),
            ("event_subscription.kinds[0]", "KIND_UNKNOWN"),
        }
    assert receiver.told == []


async def test_a_subscription_that_goes_takes_its_events_along(
    tmp_path: Path, database_url: str, receiver: Receiver
) -> None:
    """One of the same name that comes later has another secret, and is told nothing old."""
    receiver.answers = lambda _: 500
    async with serving(tmp_path, database_url, changes=QUICK) as api:
        await api.apply(*platform())
        first = await subscribe(api, receiver.url, kinds=["Component"])
        await api.apply(component("old"))
        await receiver.until(lambda: bool(receiver.told))
        await stub(api).DeleteEventSubscription(pb.DeleteEventSubscriptionRequest(name=NAME))
        receiver.answers = lambda _: 200
        second = await subscribe(api, receiver.url, kinds=["Component"])
        await api.apply(component("new"))
        await receiver.until(lambda: bool(receiver.events("/new")))
        await settled(api, lambda s: s.pending_count == s.dead_letter_count == 0)
    assert first.secret != second.secret
    assert is_signed(second.secret, *receiver.told[-1])


async def test_of_two_processes_one_delivers(
    tmp_path: Path, request: pytest.FixtureRequest, receiver: Receiver
) -> None:
    """On one PostgreSQL one process delivers, whoever wrote; the other takes over where it ends."""
    url = request.getfixturevalue("postgres_server").new_database()
    async with AsyncExitStack() as stack:
        first = AsyncExitStack()
        one = await first.enter_async_context(serving(tmp_path / "1", url, changes=QUICK))
        two = await stack.enter_async_context(serving(tmp_path / "2", url, changes=QUICK))
        await one.apply(*platform())
        await subscribe(one, receiver.url, kinds=["Component"])
        for number in range(6):
            await (one, two)[number % 2].apply(component(f"c{number}"))
        await receiver.until(lambda: len(receiver.told) >= 6)
        await settled(two, lambda s: s.pending_count == 0)
        assert len(receiver.told) == 6
        await first.aclose()
        await two.apply(component("later"))
        await receiver.until(lambda: bool(receiver.events("/later")))
    assert len(receiver.told) == 7


async def test_an_applied_subscription_tells_its_secret_once(
    tmp_path: Path, database_url: str, receiver: Receiver
) -> None:
    """Apply answers it with what is created; no trial, repetition, read or change has it again."""
    async with serving(tmp_path, database_url, changes=QUICK) as api:
        await api.apply(*platform())
        hook = pb.EventSubscription(name=NAME, url=receiver.url, kinds=["Component"])
        ids = [str(uuid.uuid4()), str(uuid.uuid4())]

        async def secret(**more: Any) -> str:
            answer = (await api.apply(hook, **more)).resources[0].resource
            found = pb.EventSubscription()
            assert answer.Unpack(found)
            return found.secret

        tried = await secret(validate_only=True)
        first = await secret(request_id=ids[0])
        again = [await secret(request_id=ids[0]), await secret()]
        await api.apply(component("cart"))
        await receiver.until(lambda: len(receiver.told) == 1)
        stub_ = resource_change_pb2_grpc.ResourceChangeServiceStub(api.user)
        changes = await stub_.ListResourceChanges(
            resource_change_pb2.ListResourceChangesRequest(parent=NAME)
        )
        create = pb.CreateEventSubscriptionRequest(
            parent=ORG,
            event_subscription_id="other",
            event_subscription=pb.EventSubscription(url=receiver.url),
            request_id=ids[1],
        )
        made = [await stub(api).CreateEventSubscription(create) for _ in range(2)]
    assert (tried, again) == ("", ["", ""])
    assert is_signed(first, *receiver.told[0])
    assert first not in str(changes)
    assert [bool(m.secret) for m in made] == [True, False]
