"""PURE: how far one object is, by well-known rules (kstatus, and each API's own conditions).

Total: whatever is not known to be terminal is progressing, never failed. A status counts only
once it was made of the present generation, so that a new revision is never ready by the status of
the one before. Where nothing acts on an API (a simulated plane, a folder) its objects are ready
as applied, until a controller says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from cellplane.cell import labels
from cellplane.cell.condition import Health

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectHealth:
    """How far an object is, and why."""

    health: Health
    reason: str = ""
    message: str = ""
    terminal: bool = False
    since: str = ""
    """When it became so, RFC 3339; empty where nobody says."""
    ready: int = 0
    replicas: int = 0


READY: Final = ObjectHealth(health=Health.READY)
_TERMINAL_REASONS: Final = frozenset(
    {
        "Invalid",
        "InvalidCACertificateRef",
        "InvalidKind",
        "InvalidParameters",
        "NoMatchingListenerHostname",
        "NotAllowedByListeners",
        "RefNotPermitted",
        "UnsupportedProtocol",
        "UnsupportedValue",
    }
)
_QUOTA: Final = "exceeded quota"
_FORBIDDEN: Final = "is forbidden"


def assess(body: Body, *, controlled: bool = True) -> ObjectHealth:
    """Tell how far an object is.

    Args:
        body: The object as the API server has it.
        controlled: Whether controllers of routes, certificates and load balancers are there.
    """
    metadata = body.get("metadata", {})
    if metadata.get("deletionTimestamp"):
        return _progressing("Terminating", "is being deleted", str(metadata["deletionTimestamp"]))
    found = _by_kind(body, controlled=controlled)
    asked = (metadata.get("annotations") or {}).get(labels.READY_WHEN)
    return _as_asked(body, found, asked, controlled=controlled) if asked else found


def _as_asked(
    body: Body, found: ObjectHealth, expression: str, *, controlled: bool
) -> ObjectHealth:
    """What an expression makes of what the kind's own rule has *found*."""
    group, kind = str(body.get("apiVersion", "")).rpartition("/")[0], str(body.get("kind", ""))
    unsaid = not body.get("status") and not controlled and (group, kind) in _CONTROLLED
    unseen = found.reason == "NotObserved"
    if found.health is Health.FAILED or found.terminal or unsaid or unseen:
        return found
    try:
        said = _program(expression).execute({"resource": body})
    except Exception as error:  # noqa: BLE001 - the library has no error of its own
        told = f"{expression!r} cannot be told yet: {str(error).splitlines()[0]}"
        return replace(found, health=Health.PROGRESSING, reason="NotReadyYet", message=told)
    if said is True:
        return replace(found, health=Health.READY, reason="", message="")
    told = f"{expression!r} is not true yet"
    return replace(found, health=Health.PROGRESSING, reason="NotReadyYet", message=told)


@lru_cache(maxsize=256)
def _program(expression: str) -> Any:
    """Compiled once; the model has held it against the language before it got here."""
    # Only where an expression comes: most agents never need it.
    import cel

    return cel.compile(expression)


def _by_kind(body: Body, *, controlled: bool) -> ObjectHealth:
    group = str(body.get("apiVersion", "")).rpartition("/")[0]
    kind = str(body.get("kind", ""))
    if rule := _RULES.get((group, kind)):
        return rule(body)
    if rule := _CONTROLLED.get((group, kind)):
        found = rule(body)
        unsaid = found.health is Health.PROGRESSING and not found.reason
        return READY if unsaid and not controlled else found
    return _generic(body)


def _deployment(body: Body) -> ObjectHealth:
    spec, status = body.get("spec", {}), body.get("status", {})
    wanted = _replicas(spec)
    counts = ObjectHealth(
        health=Health.PROGRESSING, ready=int(status.get("readyReplicas", 0)), replicas=wanted
    )
    if not _observed(body):
        return replace(counts, health=Health.PROGRESSING, reason="NotObserved")
    conditions = _conditions(status)
    if failure := _replica_failure(conditions, counts):
        return failure
    progressing = conditions.get("Progressing", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return replace(
            counts,
            health=Health.FAILED,
            reason="ProgressDeadlineExceeded",
            message=str(progressing.get("message", "")),
            terminal=True,
            since=str(progressing.get("lastTransitionTime", "")),
        )
    updated, total = int(status.get("updatedReplicas", 0)), int(status.get("replicas", 0))
    available = int(status.get("availableReplicas", 0))
    if spec.get("paused"):
        return replace(counts, health=Health.SUSPENDED, reason="Paused")
    return _rolled(wanted, updated=updated, total=total, available=available, counts=counts)


def _rolled(
    wanted: int, *, updated: int, total: int, available: int, counts: ObjectHealth
) -> ObjectHealth:
    message = ""
    if updated < wanted:
        message = f"{updated} of {wanted} replicas are updated"
    elif total > updated:
        message = f"{total - updated} old replicas are still there"
    elif available < wanted:
        message = f"{available} of {wanted} replicas are available"
    if message:
        return replace(counts, health=Health.PROGRESSING, reason="RollingOut", message=message)
    if wanted == 0:
        return replace(counts, health=Health.SUSPENDED, reason="ScaledToZero")
    return replace(counts, health=Health.READY)


def _replica_failure(conditions: Mapping[str, Body], counts: ObjectHealth) -> ObjectHealth | None:
    failure = conditions.get("ReplicaFailure", {})
    if failure.get("status") != "True":
        return None
    message = str(failure.get("message", ""))
    reason = "QuotaExceeded" if _QUOTA in message else str(failure.get("reason", "FailedCreate"))
    lasting = _QUOTA in message or _FORBIDDEN in message
    return replace(
        counts,
        health=Health.FAILED if lasting else Health.PROGRESSING,
        reason=reason,
        message=message,
        terminal=lasting,
        since=str(failure.get("lastTransitionTime", "")),
    )


def _stateful_set(body: Body) -> ObjectHealth:
    spec, status = body.get("spec", {}), body.get("status", {})
    wanted = _replicas(spec)
    counts = ObjectHealth(
        health=Health.PROGRESSING, ready=int(status.get("readyReplicas", 0)), replicas=wanted
    )
    if not _observed(body):
        return replace(counts, health=Health.PROGRESSING, reason="NotObserved")
    updated, total = int(status.get("updatedReplicas", 0)), int(status.get("replicas", 0))
    if status.get("currentRevision") == status.get("updateRevision"):
        updated = total
    ready = min(int(status.get("readyReplicas", 0)), int(status.get("availableReplicas", 0)))
    return _rolled(wanted, updated=updated, total=total, available=ready, counts=counts)


def _job(body: Body) -> ObjectHealth:
    spec, status = body.get("spec", {}), body.get("status", {})
    wanted = int(spec.get("completions", spec.get("parallelism", 1)) or 0)
    counts = ObjectHealth(
        health=Health.PROGRESSING, ready=int(status.get("succeeded", 0)), replicas=wanted
    )
    conditions = _conditions(status)
    for name in ("Failed", "FailureTarget"):
        failed = conditions.get(name, {})
        if failed.get("status") == "True":
            return replace(
                counts,
                health=Health.FAILED,
                reason=str(failed.get("reason", "JobFailed")),
                message=str(failed.get("message", "")),
                terminal=True,
                since=str(failed.get("lastTransitionTime", "")),
            )
    if conditions.get("Complete", {}).get("status") == "True":
        return replace(counts, health=Health.READY)
    if spec.get("suspend"):
        return replace(counts, health=Health.SUSPENDED, reason="Suspended")
    return replace(
        counts,
        health=Health.PROGRESSING,
        reason="JobRunning",
        message=f"{int(status.get('active', 0))} pods run",
    )


def _cron_job(body: Body) -> ObjectHealth:
    if body.get("spec", {}).get("suspend"):
        return ObjectHealth(health=Health.SUSPENDED, reason="Suspended")
    return READY


def _namespace(body: Body) -> ObjectHealth:
    phase = body.get("status", {}).get("phase", "Active")
    return READY if phase == "Active" else _progressing("Terminating", "is being deleted")


def _claim(body: Body) -> ObjectHealth:
    phase = str(body.get("status", {}).get("phase", "Pending"))
    if phase == "Bound":
        return READY
    return _progressing("ClaimLost" if phase == "Lost" else "ClaimPending", f"claim is {phase}")


def _autoscaler(body: Body) -> ObjectHealth:
    able = _conditions(body.get("status", {})).get("AbleToScale", {})
    if able.get("status") == "False":
        return _progressing(str(able.get("reason", "")), str(able.get("message", "")))
    return READY


def _policy(body: Body) -> ObjectHealth:
    valid = _conditions(body.get("status", {})).get("Valid", {})
    if valid.get("status") == "False":
        return ObjectHealth(
            health=Health.FAILED,
            reason=str(valid.get("reason") or "PolicyInvalid"),
            message=str(valid.get("message", "")),
            terminal=True,
            since=str(valid.get("lastTransitionTime", "")),
        )
    return READY


def _load_balanced(body: Body) -> ObjectHealth:
    if body.get("spec", {}).get("type") != "LoadBalancer":
        return READY
    given = body.get("status", {}).get("loadBalancer", {}).get("ingress")
    return READY if given else ObjectHealth(health=Health.PROGRESSING)


def _gateway(body: Body) -> ObjectHealth:
    return _all_true(body, [body.get("status", {})], ("Accepted", "Programmed"))


def _route(body: Body) -> ObjectHealth:
    parents = body.get("status", {}).get("parents") or ()
    return _all_true(body, parents, ("Accepted", "ResolvedRefs"))


def _attached(body: Body) -> ObjectHealth:
    ancestors = body.get("status", {}).get("ancestors") or ()
    return _all_true(body, ancestors, ("Accepted",))


def _backend(body: Body) -> ObjectHealth:
    return _all_true(body, [body.get("status", {})], ("Accepted",))


def _certificate(body: Body) -> ObjectHealth:
    return _all_true(body, [body.get("status", {})], ("Ready",))


def _all_true(body: Body, holders: Iterable[Body], types: tuple[str, ...]) -> ObjectHealth:
    """Each of *types* must be true everywhere; progressing without a reason: nobody said it."""
    generation = int(body.get("metadata", {}).get("generation", 0))
    said = False
    for holder in holders:
        conditions = _conditions(holder)
        for name in types:
            condition = conditions.get(name)
            if condition is None or condition.get("status") not in ("True", "False"):
                if said:
                    return _progressing(f"{name}Pending", f"{name} is not known yet")
                return ObjectHealth(health=Health.PROGRESSING)
            said = True
            if int(condition.get("observedGeneration", generation)) < generation:
                return _progressing("NotObserved", f"{name} is of an older generation")
            if condition["status"] == "False":
                return _denied(condition)
    return READY if said else ObjectHealth(health=Health.PROGRESSING)


def _denied(condition: Body) -> ObjectHealth:
    reason = str(condition.get("reason", "")) or f"Not{condition.get('type', 'Ready')}"
    terminal = reason in _TERMINAL_REASONS
    return ObjectHealth(
        health=Health.FAILED if terminal else Health.PROGRESSING,
        reason=reason,
        message=str(condition.get("message", "")),
        terminal=terminal,
        since=str(condition.get("lastTransitionTime", "")),
    )


def _generic(body: Body) -> ObjectHealth:
    """Kstatus' rule for kinds that it does not know."""
    status = body.get("status") or {}
    if not isinstance(status, Mapping):
        return READY
    if "observedGeneration" in status and not _observed(body):
        return _progressing("NotObserved", "status is of an older generation")
    conditions = _conditions(status)
    if conditions.get("Stalled", {}).get("status") == "True":
        stalled = conditions["Stalled"]
        return _progressing(str(stalled.get("reason", "Stalled")), str(stalled.get("message", "")))
    if conditions.get("Ready", {}).get("status") == "False":
        ready = conditions["Ready"]
        return _progressing(str(ready.get("reason", "NotReady")), str(ready.get("message", "")))
    return READY


def _observed(body: Body) -> bool:
    generation = int(body.get("metadata", {}).get("generation", 0))
    return int(body.get("status", {}).get("observedGeneration", 0)) >= generation


def _conditions(status: Body) -> dict[str, Body]:
    return {str(c.get("type", "")): c for c in status.get("conditions") or ()}


def _replicas(spec: Body) -> int:
    replicas = spec.get("replicas")
    return 1 if replicas is None else int(replicas)


def _progressing(reason: str, message: str, since: str = "") -> ObjectHealth:
    return ObjectHealth(health=Health.PROGRESSING, reason=reason, message=message, since=since)


Rule = Callable[[Body], ObjectHealth]
_GATEWAY_API: Final = "gateway.networking.k8s.io"
_ENVOY: Final = "gateway.envoyproxy.io"
_RULES: Final[Mapping[tuple[str, str], Rule]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("", "Namespace"): _namespace,
    ("", "PersistentVolumeClaim"): _claim,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("cilium.io", "CiliumNetworkPolicy"): _policy,
    # Its status counts pods, which their controller is asked about.
    ("policy", "PodDisruptionBudget"): lambda _body: READY,
}
_CONTROLLED: Final[Mapping[tuple[str, str], Rule]] = {
    ("", "Service"): _load_balanced,
    (_GATEWAY_API, "Gateway"): _gateway,
    **{
        (_GATEWAY_API, kind): _route
        for kind in ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")
    },
    (_GATEWAY_API, "BackendTLSPolicy"): _attached,
    **{
        (_ENVOY, kind): _attached
        for kind in ("BackendTrafficPolicy", "ClientTrafficPolicy", "SecurityPolicy")
    },
    (_ENVOY, "Backend"): _backend,
    ("cert-manager.io", "Certificate"): _certificate,
    ("cert-manager.io", "Issuer"): _certificate,
    ("external-secrets.io", "ExternalSecret"): _certificate,
}
