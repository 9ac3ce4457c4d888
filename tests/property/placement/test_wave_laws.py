"""Laws of rollouts: whatever data planes do, a change goes no further than it may."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.cell.requirement import LabelSelector, Operator, RolloutStrategy, RolloutWave
from cellplane.placement.rollout import progress
from cellplane.placement.rollout.order import share, waves_of
from cellplane.placement.rollout.progress import ENDED, UNDER_WAY, Phase, Rollout, Seen, Step
from cellplane.placement.rollout_store import rollout_of, rollout_to_json
from cellplane.placement.scheduler.snapshot import Plane, PlaneState

NAMES = tuple("abcdefgh")
amounts = st.sampled_from(["", "1", "2", "3", "25%", "50%", "100%"])
waves = st.builds(
    RolloutWave,
    selectors=st.sampled_from(
        [(), (LabelSelector(key="ring", operator=Operator.IN, values=("canary",)),)]
    ),
    size=amounts,
    mandatory=st.booleans(),
    approval=st.booleans(),
    wait_seconds=st.sampled_from([None, 0, 30]),
)
strategies = st.builds(
    RolloutStrategy,
    waves=st.lists(waves, max_size=3).map(tuple),
    concurrency=amounts,
    soak_seconds=st.sampled_from([None, 0, 20]),
    deadline_seconds=st.sampled_from([None, 60]),
    failure_budget=st.sampled_from(["", "0", "1", "50%"]),
    rollback=st.sampled_from([None, True, False]),
)
fleets = st.lists(
    st.tuples(st.sampled_from(NAMES), st.booleans()), min_size=1, unique_by=lambda p: p[0]
)
seens = st.builds(
    Seen,
    ready=st.booleans(),
    failed=st.sampled_from(["", "", "", "it crashed"]),
    heard=st.sampled_from([True, True, True, False]),
)
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("see"), st.dictionaries(st.sampled_from(NAMES), seens)),
        st.tuples(st.just("wait"), st.sampled_from([1, 15, 40, 700])),
        st.tuples(st.sampled_from(["stop", "resume", "approve"]), st.none()),
    ),
    max_size=25,
)


def planes(fleet: list[tuple[str, bool]]) -> list[Plane]:
    """Data planes, some of which are canaries."""
    return [
        Plane(
            data_plane=name,
            organization="acme",
            state=PlaneState.READY,
            labels={"ring": "canary"} if canary else {},
        )
        for name, canary in fleet
    ]


def begun(strategy: RolloutStrategy, fleet: list[tuple[str, bool]]) -> Rollout:
    """A change from revision 1 to 2 of a Cell that is ready everywhere."""
    names = [name for name, _ in fleet]
    return progress.begin(
        strategy, planes(fleet), dict.fromkeys(names, 1), dict.fromkeys(names, True), 2, 0.0
    )


def started(before: Rollout, after: Rollout) -> set[str]:
    """Data planes that got the change in between."""
    return {
        n
        for n, p in after.planes.items()
        if p.step is not Step.HELD and before.planes[n].step is Step.HELD
    }


def unseen(before: Rollout, after: Rollout, seen: dict[str, Seen]) -> dict[str, Seen]:
    """What was seen, but of data planes that are to have another revision now."""
    return {
        n: Seen(heard=s.heard)
        if n in after.planes and before.revision_of(n) != after.revision_of(n)
        else s
        for n, s in seen.items()
    }


@settings(max_examples=150, deadline=None)
@given(strategy=strategies, fleet=fleets, then=happenings)
def test_a_change_goes_no_further_than_it_may(
    strategy: RolloutStrategy, fleet: list[tuple[str, bool]], then: list[tuple[str, object]]
) -> None:
    """In every step: the order of waves, gates, concurrency, the budget, and who may go back."""
    rollout, now = begun(strategy, fleet), 0.0
    most = share(strategy.concurrency, len(rollout.planes))
    seen: dict[str, Seen] = {}
    for what, value in then:
        match what, value:
            case "see", dict():
                seen |= value
            case "wait", int():
                now += value
            case "stop", _:
                rollout = progress.stop(rollout)
            case "resume", _:
                rollout = progress.resume(rollout, now)
            case _:
                rollout = progress.approve(rollout) if not rollout.over else rollout
        allowed = rollout
        # Deciding once more on the same changes nothing, and a restart neither.
        rollout = progress.advance(rollout, seen, now)
        seen = unseen(allowed, rollout, seen)
        assert progress.advance(rollout, seen, now) == rollout
        again = rollout_of(rollout_to_json(rollout))
        assert progress.replace(again, strategy=strategy) == rollout

        fresh = started(allowed, rollout)
        steps = {n: p.step for n, p in rollout.planes.items()}
        for at, wave in enumerate(rollout.waves):
            inside = fresh & set(wave.data_planes)
            if not inside:
                continue
            assert not allowed.stopped
            assert all(seen.get(n, Seen(heard=False)).heard for n in inside)
            for earlier in rollout.waves[:at]:
                assert all(steps[n] in ENDED for n in earlier.data_planes)
            assert not wave.approval or rollout.approved >= at
        if fresh:
            assert sum(step in UNDER_WAY for step in steps.values()) <= most
            assert allowed.failures <= rollout.budget
        for name, plane in rollout.planes.items():
            old = plane.step in (Step.HELD, Step.ROLLED_BACK)
            assert rollout.revision_of(name) == (1 if old else 2)
            if plane.counted:
                assert plane.healthy
            if plane.step is Step.FAILED:
                assert strategy.rollback is False
        if rollout.over:
            assert all(step in ENDED for step in steps.values())


@settings(max_examples=100, deadline=None)
@given(strategy=strategies, fleet=fleets)
def test_a_good_change_reaches_every_data_plane_once(
    strategy: RolloutStrategy, fleet: list[tuple[str, bool]]
) -> None:
    """Ready where it is, approved and waited for, it ends with all of them done."""
    rollout, now = begun(strategy, fleet), 0.0
    seen: Mapping[str, Seen] = {n: Seen(ready=True) for n in rollout.planes}
    for _ in range(4 * len(fleet) + 8):
        rollout = progress.advance(rollout, seen, now)
        if rollout.phase(now) is Phase.WAITING_FOR_APPROVAL:
            rollout = progress.approve(rollout)
        now += 31
    assert rollout.phase(now) is Phase.DONE
    assert {p.step for p in rollout.planes.values()} == {Step.DONE}


@settings(max_examples=100, deadline=None)
@given(strategy=strategies, fleet=fleets, broken=st.sets(st.sampled_from(NAMES)))
def test_only_what_the_change_broke_counts(
    strategy: RolloutStrategy, fleet: list[tuple[str, bool]], broken: set[str]
) -> None:
    """A data plane that was broken before, or is not heard of, never spends the budget."""
    rollout, now = begun(strategy, fleet), 0.0
    for at in range(4 * len(fleet) + 8):
        seen: dict[str, Seen] = {}
        for name, plane in rollout.planes.items():
            if name in broken:
                seen[name] = Seen(failed="it crashed", heard=True)
            elif plane.step in UNDER_WAY and at % 3 == 0:
                seen[name] = Seen(heard=False)
            else:
                seen[name] = Seen(ready=True)
        rollout = progress.advance(rollout, seen, now)
        if rollout.phase(now) is Phase.WAITING_FOR_APPROVAL:
            rollout = progress.approve(rollout)
        now += 31
    assert rollout.failures == 0


@settings(max_examples=100, deadline=None)
@given(strategy=strategies, fleet=fleets)
def test_every_data_plane_is_in_one_wave_whatever_the_order(
    strategy: RolloutStrategy, fleet: list[tuple[str, bool]]
) -> None:
    """Waves hold each data plane once, in the same order however they came."""
    found = waves_of(strategy, planes(fleet))
    assert sorted(n for w in found for n in w.data_planes) == sorted(n for n, _ in fleet)
    assert waves_of(strategy, planes(fleet[::-1])) == found
