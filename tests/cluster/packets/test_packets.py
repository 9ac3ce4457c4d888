"""The table of the Cell with real packets: real pods, real nodes, the real Cilium agent.

The agent enforces both providers' policies: Cilium's own, and plain NetworkPolicies.

A packet that does not arrive proves nothing by itself. So each flow is tried again as soon as the
policies are gone, by the same source to the same process: what arrives then was denied before.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cellplane.network_policy.compiler.flows import Flow, Pod
from cellplane.network_policy.compiler.verdict import Judge
from tests.cluster.packets.conftest import SCENES, flows_of
from tests.cluster.packets.town import REPLICA, SLOW, Outcome, Town
from tests.golden.network_policy import world

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(2400)]


@pytest.mark.parametrize("scene", SCENES, ids=str)
async def test_packets_do_what_the_table_says(people: Town, scene: world.Scene) -> None:
    """Every flow of the table passes or not as it is judged, and each passes without policies."""
    flows = flows_of(scene)
    await people.apply(scene.objects)
    wrong = await _wrong(people, scene, flows)
    await people.apply([])
    assert await _unreached(people, flows) == []
    assert wrong == []


async def test_a_connection_in_use_is_cut_when_it_is_removed(people: Town) -> None:
    """Without its declared connection a component falls silent at once, and nobody else does."""
    await people.apply(_scene("connected").objects)
    api = f"{people.address('api')}:8080"
    async with people.talk("web", api) as declared, people.talk(REPLICA, api) as other:
        await people.apply(_scene("alone").objects)
        assert await declared.end() == "silent"
        await other.goes_on()


async def test_the_first_packet_of_a_new_pod_is_denied(people: Town) -> None:
    """A pod that starts under its policies reaches what they open, and nothing else ever."""
    await people.apply(_scene("connected").objects)
    api, collector = f"{people.address('api')}:8080", f"{people.address('collector')}:4317"
    batch = world.place(_scene("connected"), "batch")
    assert isinstance(batch, Pod)
    await people.move_in("late", batch, 1, "knock", api, collector)
    try:
        await people.at_home(["late"])
        await people.logged("late", f"{collector} reached", times=3)
        await people.logged("late", f"{api} ", times=3)
        first, *more = [line for line in people.log("late").splitlines() if f" {api} " in line]
        assert f"knock 0 {api} silent" in first
        assert not [line for line in more if "silent" not in line]
        assert people.address("late") not in people.log("api")
        # The same knocks arrive as soon as nothing forbids them.
        await people.apply([])
        await people.logged("late", f"{api} reached", times=1)
        assert people.address("late") in people.log("api")
    finally:
        await people.move_out("late")


def _scene(link: str) -> world.Scene:
    """The Cell that says the most, with the connection of ``web`` to ``api`` or without."""
    facts = {link, "strict", "organization", "cilium", "tcp"}
    return next(scene for scene in SCENES if scene.facts >= facts)


async def _wrong(town: Town, scene: world.Scene, flows: Sequence[Flow]) -> list[str]:
    """The flows of which became something else than the compiled objects are judged to do."""
    judge = Judge(scene.objects)
    allowed = {repr(flow): judge.verdict(flow).allowed for flow in flows}
    outcomes = {repr(each.flow): each for each in await town.observe(flows)}
    # A busy machine may be late: what should come gets time, and what should not come gets none.
    late = [flow for flow in flows if allowed[repr(flow)] and not outcomes[repr(flow)].reached]
    outcomes |= {repr(each.flow): each for each in await town.observe(late, patience=SLOW)}
    return [
        town.told(outcome)
        for key, outcome in outcomes.items()
        if outcome.reached is not allowed[key] or not _by_whom(town, outcome)
    ]


async def _unreached(town: Town, flows: Sequence[Flow]) -> list[str]:
    """The flows that fail though nothing forbids them."""
    outcomes = await town.observe(flows)
    late = [each.flow for each in outcomes if not _passed(town, each)]
    return [town.told(o) for o in await town.observe(late, patience=SLOW) if not _passed(town, o)]


def _passed(town: Town, outcome: Outcome) -> bool:
    return outcome.reached and _by_whom(town, outcome)


def _by_whom(town: Town, outcome: Outcome) -> bool:
    """Whether an answer, if there is one, came from the one who was asked."""
    is_pod = isinstance(outcome.flow.destination, Pod)
    if not outcome.answer or not is_pod or outcome.flow.port == 53:
        return True
    return outcome.answer == town.name(outcome.flow.destination)
