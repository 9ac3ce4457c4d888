"""What the agent does to a real cluster, as told by a control plane over the real link."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cellplane.api.agent.v1 import link_pb2
from cellplane.api.type.v1 import condition_pb2
from cellplane.cell.manifest import ObjectKey, Phase
from cellplane.kube.errors import ApiFailure, Failure
from tests.cluster.agent import samples
from tests.cluster.agent.conftest import AGENT, Setting
from tests.cluster.agent.control import reference

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300)]

READY = condition_pb2.HEALTH_READY
FAILED = condition_pb2.HEALTH_FAILED
OUTCOMES = link_pb2.ObjectResult
REPAIR_SECONDS = 1.0


async def _there(setting: Setting, path: str) -> bool:
    try:
        await setting.kube.get(path)
    except ApiFailure as failure:
        if failure.kind is not Failure.NOT_FOUND:
            raise
        return False
    return True


async def _until(found: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> float:
    """Look again and again until it holds; how long that took."""
    began = time.monotonic()
    while not await found():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


async def _change(setting: Setting, path: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change an object as a person does."""
    while True:
        body = await setting.kube.get(path)
        version = body["metadata"]["resourceVersion"]
        change(body)
        try:
            await setting.kube.patch(
                path,
                [
                    {"op": "test", "path": "/metadata/resourceVersion", "value": version},
                    {"op": "replace", "path": "/spec", "value": body["spec"]},
                    {
                        "op": "replace",
                        "path": "/metadata/annotations",
                        "value": body["metadata"]["annotations"],
                    },
                ],
                manager="somebody",
            )
        except ApiFailure as failure:
            if failure.kind not in (Failure.CONFLICT, Failure.INVALID):
                raise
        else:
            return


def _audit(setting: Setting) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in setting.info.audit_log.read_text().splitlines()]
    namespace = setting.cell.namespace
    return [e for e in lines if (e.get("objectRef") or {}).get("namespace") == namespace]


def _is_part(event: dict[str, Any]) -> bool:
    """Whether it is of a subresource, such as a pod's binding to a node."""
    return bool(event["objectRef"].get("subresource"))


async def test_a_cell_is_ready_and_no_pod_was_there_before_its_policies(setting: Setting) -> None:
    """Every object of a Cell is applied, every policy was answered before the first pod was asked
    for, and the Cell is reported ready with its replicas.
    """
    setting.control.want(setting.name, samples.whole(setting.cell, ("api", "web"), replicas=2))
    applied = await setting.control.applied(setting.name)
    report = await setting.control.reported(setting.name, READY)
    assert applied.revision == 1
    counts = [(c.component, c.ready_replica_count, c.replica_count) for c in report.components]
    assert counts == [("api", 2, 2), ("web", 2, 2)]
    events = _audit(setting)
    policies = [
        e["stageTimestamp"] for e in events if e["objectRef"]["resource"] == "networkpolicies"
    ]
    pods = [
        e["requestReceivedTimestamp"]
        for e in events
        if e["verb"] == "create" and e["objectRef"]["resource"] == "pods" and not _is_part(e)
    ]
    assert len(policies) == 3
    assert len(pods) == 4
    assert max(policies) < min(pods)


async def test_only_what_changed_is_written(setting: Setting) -> None:
    """An edit of one object is one write of the agent, and an unchanged revision none."""
    before = samples.whole(setting.cell)
    setting.control.want(setting.name, before)
    await setting.control.reported(setting.name, READY)
    writes = sum(e["user"]["username"] == AGENT for e in _audit(setting))
    after = [
        m if m.kind != "ConfigMap" else samples.component(setting.cell, "web", env="2")[2]
        for m in before
    ]
    setting.control.want(setting.name, after)
    applied = await setting.control.applied(setting.name)
    assert [(r.object.kind, r.outcome) for r in applied.results] == [
        ("ConfigMap", OUTCOMES.CHANGED)
    ]
    setting.control.want(setting.name, after)
    await setting.control.applied(setting.name)
    assert sum(e["user"]["username"] == AGENT for e in _audit(setting)) == writes + 1


async def test_an_edited_image_is_repaired_within_a_second(setting: Setting) -> None:
    """A field of ours that somebody changes is ours again, and the change is told by its field."""
    setting.control.want(setting.name, samples.whole(setting.cell))
    await setting.control.reported(setting.name, READY)
    path = setting.deployment("web")

    def edit(body: dict[str, Any]) -> None:
        body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.test/other:1"

    async def repaired() -> bool:
        body = await setting.kube.get(path)
        return bool(
            body["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.test/app:1"
        )

    await _change(setting, path, edit)
    assert await _until(repaired) < REPAIR_SECONDS
    drift = (await setting.control.until(lambda: setting.control.of("drift")))[0]
    assert list(drift.fields) == ["/spec/template/spec/containers/0/image"]
    assert drift.repaired


async def test_a_deleted_policy_is_back_within_a_second(setting: Setting) -> None:
    """An object of ours that somebody deletes is made again."""
    setting.control.want(setting.name, samples.whole(setting.cell))
    await setting.control.reported(setting.name, READY)
    path = setting.policy("web-ingress")
    uid = (await setting.kube.get(path))["metadata"]["uid"]
    await setting.kube.delete(path, uid=uid, propagation="Background")
    assert await _until(lambda: _there(setting, path)) < REPAIR_SECONDS
    drift = (await setting.control.until(lambda: setting.control.of("drift")))[0]
    assert (drift.object.object, list(drift.fields), drift.repaired) == ("web-ingress", [], True)


async def test_a_widened_policy_is_narrow_again_within_a_second(setting: Setting) -> None:
    """A rule that somebody adds to a policy of ours is taken out, though its field is not ours."""
    setting.control.want(setting.name, samples.whole(setting.cell))
    await setting.control.reported(setting.name, READY)
    path = setting.policy("default-deny")

    async def narrow() -> bool:
        return not (await setting.kube.get(path))["spec"].get("ingress")

    await _change(setting, path, lambda body: body["spec"].update(ingress=[{}]))
    assert await _until(narrow) < REPAIR_SECONDS


async def test_others_may_own_what_is_not_ours(setting: Setting) -> None:
    """A field that the manifest does not have stays as somebody set it, and is no drift."""
    setting.control.want(setting.name, samples.whole(setting.cell))
    await setting.control.reported(setting.name, READY)
    path = setting.deployment("web")
    await _change(setting, path, lambda body: body["metadata"]["annotations"].update(note="hello"))
    setting.control.want(setting.name, samples.whole(setting.cell, env="2"))
    await setting.control.applied(setting.name)
    assert (await setting.kube.get(path))["metadata"]["annotations"]["note"] == "hello"
    assert setting.control.of("drift") == []


async def test_absence_never_removes_and_a_named_removal_does(setting: Setting) -> None:
    """What a revision no longer has stays until a removal names it, and goes then."""
    setting.control.want(setting.name, samples.whole(setting.cell, ("api", "web")))
    await setting.control.reported(setting.name, READY)
    less = samples.whole(setting.cell, ("web",))
    setting.control.cells[setting.name].base = {}
    setting.control.want(setting.name, less, removals=False)
    await setting.control.applied(setting.name)
    assert await _there(setting, setting.deployment("api"))
    gone = [m.key for m in samples.component(setting.cell, "api")]
    setting.control.cells[setting.name].removals = dict.fromkeys(gone)
    setting.control.want(setting.name, less)
    await setting.control.applied(setting.name)
    assert not await _there(setting, setting.deployment("api"))
    assert await _there(setting, setting.deployment("web"))


async def test_a_removal_leaves_what_is_not_ours(setting: Setting) -> None:
    """An object that does not carry the Cell as its owner is not deleted, though it is named."""
    setting.control.want(setting.name, samples.frame(setting.cell))
    await setting.control.applied(setting.name)
    path = setting.path("configmaps", "theirs")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}}
    await setting.kube.apply(path, json.dumps(body).encode(), manager="somebody", force=False)
    key = ObjectKey(
        api_version="v1", kind="ConfigMap", namespace=setting.cell.namespace, object="theirs"
    )
    setting.control.cells[setting.name].removals = {key: None}
    setting.control.want(setting.name, samples.frame(setting.cell))
    applied = await setting.control.applied(setting.name)
    assert await _there(setting, path)
    assert [r.outcome for r in applied.results] == [OUTCOMES.CONFLICT]


async def test_a_foreign_object_is_not_adopted_unless_it_is_identical(setting: Setting) -> None:
    """An object that is there before us is a conflict that names it, until it is gone; one that
    says the same is ours from then on.
    """
    setting.control.want(setting.name, samples.frame(setting.cell))
    await setting.control.applied(setting.name)
    theirs = setting.path("configmaps", "web-config")
    same = setting.path("configmaps", "api-config")
    for path, data in ((theirs, {"A": "theirs"}), (same, {"A": "1"})):
        name = path.rpartition("/")[2]
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
        await setting.kube.apply(path, json.dumps(body).encode(), manager="somebody", force=False)
    setting.control.want(setting.name, samples.whole(setting.cell, ("api", "web")))

    def conflicts() -> list[str]:
        return [
            r.object.object
            for a in setting.control.of("applied")
            for r in a.results
            if r.outcome == OUTCOMES.CONFLICT
        ]

    await setting.control.until(conflicts)
    assert set(conflicts()) == {"web-config"}
    live = await setting.kube.get(theirs)
    assert live["data"] == {"A": "theirs"}
    report = await setting.control.reported(setting.name, FAILED)
    assert (report.cause.reason, report.cause.terminal) == ("Conflict", True)
    await setting.kube.delete(theirs, uid=live["metadata"]["uid"], propagation="Background")
    await setting.control.applied(setting.name)
    await setting.control.reported(setting.name, READY)


async def test_a_failed_policy_blocks_the_workload_behind_it(setting: Setting) -> None:
    """A component whose policy the cluster refuses gets no workload; another one does."""
    broken = [
        m
        if m.key.object != "web-ingress"
        else samples.make(
            setting.cell,
            "web",
            Phase.POLICY,
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "web-ingress",
            spec={"podSelector": {}, "policyTypes": ["Sideways"]},
        )
        for m in samples.whole(setting.cell, ("api", "web"))
    ]
    setting.control.want(setting.name, broken)
    blocked = await setting.control.until(
        lambda: {
            r.object.object
            for a in setting.control.of("applied")
            for r in a.results
            if r.outcome == OUTCOMES.BLOCKED and r.object.kind == "Deployment"
        }
    )
    assert blocked == {"web"}
    await _until(lambda: _there(setting, setting.deployment("api")))
    assert not await _there(setting, setting.deployment("web"))
    setting.control.want(setting.name, samples.whole(setting.cell, ("api", "web")))
    await setting.control.reported(setting.name, READY)


async def test_a_removed_cell_goes_with_its_namespace(setting: Setting) -> None:
    """Everything of a removed Cell goes, its policies after its pods, and it is said when it is."""
    setting.control.want(setting.name, samples.whole(setting.cell))
    await setting.control.reported(setting.name, READY)
    setting.control.remove(setting.name)
    await setting.control.until(lambda: setting.name not in setting.control.cells, "removed")
    assert not await _there(setting, f"/api/v1/namespaces/{setting.cell.namespace}")
    deletes = [
        (e["objectRef"]["resource"], e["requestReceivedTimestamp"], e["stageTimestamp"])
        for e in _audit(setting)
        if e["verb"] == "delete"
    ]
    pods = [done for kind, _, done in deletes if kind == "pods"]
    policies = [asked for kind, asked, _ in deletes if kind == "networkpolicies"]
    assert pods
    assert policies
    assert max(pods) < min(policies)


async def test_invariant_5_what_holds_data_is_kept_and_said(setting: Setting) -> None:
    """A removed Cell leaves its volume claims and the namespace that they are in; the rest goes."""
    cell = setting.cell
    claim = samples.make(
        cell,
        "db",
        Phase.CONFIGURATION,
        "v1",
        "PersistentVolumeClaim",
        "data",
        spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    )
    setting.control.want(setting.name, [*samples.frame(cell), claim])
    await setting.control.applied(setting.name)
    setting.control.remove(setting.name)
    gone = await setting.control.until(
        lambda: next((a for a in setting.control.of("applied") if a.removed), None), "removed"
    )
    said = {
        r.object.kind: r.message
        for a in setting.control.of("applied")
        for r in a.results
        if r.outcome == link_pb2.ObjectResult.KEPT
    }
    assert gone.complete
    assert set(said) == {"Namespace", "PersistentVolumeClaim"}
    assert "data" in said["Namespace"]
    kept = await setting.kube.get(setting.path("persistentvolumeclaims", "data"))
    assert "deletionTimestamp" not in kept["metadata"]


async def test_a_new_revision_is_never_ready_before_it_is(setting: Setting) -> None:
    """While pods of a new revision do not become ready, no report calls that revision ready."""
    setting.control.want(setting.name, samples.whole(setting.cell))
    await setting.control.reported(setting.name, READY)
    image = "registry.test/app:sandbox-unready"
    setting.control.want(setting.name, samples.whole(setting.cell, image=image))
    await setting.control.applied(setting.name)
    await setting.control.until(
        lambda: any(
            r.revision == 2 and r.cause.reason == "NotReady" for r in setting.control.of("report")
        )
    )
    reports = [r for r in setting.control.of("report") if r.revision == 2]
    assert all(r.health != READY for r in reports)
    setting.control.want(setting.name, samples.whole(setting.cell))
    await setting.control.reported(setting.name, READY)


@pytest.mark.parametrize(
    ("tag", "reason"),
    [("sandbox-crashing", "CrashLoopBackOff"), ("sandbox-missing", "ImagePullBackOff")],
)
async def test_a_pod_that_cannot_run_is_the_cause(setting: Setting, tag: str, reason: str) -> None:
    """The deepest cause of a Cell that cannot become ready is the pod at fault, by name."""
    image = f"registry.test/app:{tag}"
    setting.control.want(setting.name, samples.whole(setting.cell, image=image))
    report = await setting.control.reported(setting.name, FAILED)
    assert report.cause.reason == reason
    assert report.cause.resource.startswith(f"east Pod {setting.cell.namespace}/web-")
    assert report.cause.terminal
    assert [c.component for c in report.components if c.health == FAILED] == ["web"]


async def test_what_is_not_allowed_is_rejected_whole(setting: Setting) -> None:
    """A Want with one object in another namespace is rejected, and nothing of it is stored."""
    stray = samples.component(samples.cell_name("other"), "web")[2]
    setting.control.want(setting.name, [*samples.frame(setting.cell), stray])
    reply = (await setting.control.until(lambda: setting.control.of("reply")))[0]
    assert reply.verdict == link_pb2.Reply.REJECTED
    assert [r.object for r in reply.results] == [reference(stray.key)]
    assert reply.stored_revision == 0
    assert not await _there(setting, f"/api/v1/namespaces/{setting.cell.namespace}")


async def test_another_base_is_refused(setting: Setting) -> None:
    """A Want that starts from a revision that is not stored is answered with the one that is."""
    setting.control.want(setting.name, samples.frame(setting.cell))
    await setting.control.applied(setting.name)
    want = link_pb2.Want(cell=setting.name, revision=9, base_revision=7, nonce="n")
    setting.control.send(link_pb2.SyncResponse(want=want))
    replies = await setting.control.until(
        lambda: [r for r in setting.control.of("reply") if r.nonce == "n"]
    )
    assert (replies[0].verdict, replies[0].stored_revision) == (link_pb2.Reply.BASE_MISMATCH, 1)


async def test_a_quiet_cell_costs_nothing(setting: Setting) -> None:
    """Once a Cell is ready the agent writes nothing to the cluster and says nothing but beats."""
    setting.control.want(setting.name, samples.whole(setting.cell))
    await setting.control.reported(setting.name, READY)
    await _until(lambda: _settled(setting))
    writes = sum(e["user"]["username"] == AGENT for e in _audit(setting))
    said = [len(setting.control.of(kind)) for kind in ("applied", "report", "drift", "facts")]
    await asyncio.sleep(3)
    assert sum(e["user"]["username"] == AGENT for e in _audit(setting)) == writes
    assert [len(setting.control.of(k)) for k in ("applied", "report", "drift", "facts")] == said


async def _settled(setting: Setting) -> bool:
    count = len(setting.control.of("report")) + len(setting.control.of("facts"))
    await asyncio.sleep(1)
    return count == len(setting.control.of("report")) + len(setting.control.of("facts"))


async def test_a_cell_that_returns_is_made_again(setting: Setting) -> None:
    """A namespace that somebody deletes comes back with everything in it, in order."""
    setting.control.want(setting.name, samples.whole(setting.cell))
    await setting.control.reported(setting.name, READY)
    path = f"/api/v1/namespaces/{setting.cell.namespace}"
    uid = (await setting.kube.get(path))["metadata"]["uid"]
    await setting.kube.delete(path, uid=uid, propagation="Background")

    async def back() -> bool:
        if not await _there(setting, path) or not await _there(setting, setting.deployment("web")):
            return False
        return bool((await setting.kube.get(path))["metadata"]["uid"] != uid)

    await _until(back, 60)
    await setting.control.reported(setting.name, READY)
