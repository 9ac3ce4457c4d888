"""Laws of differences between bundles."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cellplane.cell.manifest import PHASE_ORDER, ObjectKey, Phase
from cellplane.placement.rollout.diff import BundleObject, apply, diff

objects = st.builds(
    BundleObject,
    key=st.builds(
        ObjectKey,
        api_version=st.just("v1"),
        kind=st.sampled_from(["ConfigMap", "Service"]),
        namespace=st.just("n"),
        object=st.sampled_from("abcd"),
    ),
    part=st.sampled_from(["", "x"]),
    phase=st.sampled_from(list(Phase)),
    digest=st.sampled_from(["1", "2"]),
)
bundles = st.lists(objects, max_size=8, unique_by=lambda o: o.key)


@given(old=bundles, new=bundles)
def test_a_difference_after_an_apply_is_empty(
    old: list[BundleObject], new: list[BundleObject]
) -> None:
    """What was applied has no difference to what was wanted."""
    applied = apply(old, diff(old, new))
    assert not diff(applied, new)
    assert set(applied) == set(new)


@given(old=bundles, new=bundles, data=st.data())
def test_order_does_not_matter(
    old: list[BundleObject], new: list[BundleObject], data: st.DataObject
) -> None:
    """Bundles are sets: any order of them has the same difference."""
    assert diff(data.draw(st.permutations(old)), data.draw(st.permutations(new))) == diff(old, new)


@given(old=bundles, new=bundles)
def test_changes_go_forwards_and_removals_backwards(
    old: list[BundleObject], new: list[BundleObject]
) -> None:
    """Changes are in the order of phases, removals in the reverse one, and never both of one."""
    delta = diff(old, new)
    phases = [PHASE_ORDER[o.phase] for o in delta.changed]
    assert phases == sorted(phases)
    before = {o.key: PHASE_ORDER[o.phase] for o in old}
    gone = [before[key] for key in delta.removals]
    assert gone == sorted(gone, reverse=True)
    assert not {o.key for o in delta.changed} & set(delta.removals)
