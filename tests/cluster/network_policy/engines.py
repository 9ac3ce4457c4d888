"""Engines that judge flows and share nothing with us: each a process, each question a line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cellplane.network_policy.compiler.flows import Address, Flow, Node, Place, Pod
from cellplane.network_policy.compiler.verdict import Judge

SIDES = ("egress", "ingress")
RESOLVER = Pod(namespace="kube-system", account="coredns", labels={"k8s-app": "kube-dns"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What an engine says of one flow, side by side; ``error`` where its policies conflict."""

    egress: bool
    ingress: bool
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an engine says of a set of policies."""

    refused: Mapping[str, str]
    """Why a policy is not enforced at all, by the object."""
    flows: tuple[Judged, ...]


class Engine:
    """One engine's process; used as a context manager."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=30)

    def ask(
        self,
        objects: Iterable[Mapping[str, Any]],
        flows: Sequence[Flow],
        *,
        own_node_always: bool = False,
    ) -> Answer:
        """Judge all *flows* by *objects*."""
        places: dict[str, int] = {}
        wire: list[dict[str, Any]] = []

        def index(place: Place) -> int:
            told = _told(place)
            key = json.dumps(told, sort_keys=True)
            if key not in places:
                places[key] = len(wire)
                wire.append(told)
            return places[key]

        # Whoever reaches a host by its name has asked the cluster's resolver for it.
        index(RESOLVER)
        asked = [
            {
                "from": index(flow.source),
                "to": index(flow.destination),
                "port": flow.port,
                "transport": flow.transport,
                "query": flow.query,
            }
            for flow in flows
        ]
        question = {
            "objects": list(objects),
            "places": wire,
            "flows": asked,
            "allow_localhost": "always" if own_node_always else "policy",
        }
        answer = self._exchange(question)
        return Answer(
            refused=answer.get("refused", {}),
            flows=tuple(
                Judged(
                    egress=v["egress"]["allowed"],
                    ingress=v["ingress"]["allowed"],
                    error=v["egress"].get("error", "") + v["ingress"].get("error", ""),
                )
                for v in answer["verdicts"]
            ),
        )

    def _exchange(self, question: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the engine ended: {self._process.wait(timeout=30)}"
        return json.loads(line)


def disagreements(
    engine: Engine,
    objects: Sequence[Mapping[str, Any]],
    flows: Sequence[Flow],
    *,
    own_node_always: bool = False,
) -> list[str]:
    """Where an engine judges otherwise than the verdict does, one line for each side of a flow."""
    answer = engine.ask(objects, flows, own_node_always=own_node_always)
    assert len(answer.flows) == len(flows)
    judge = Judge(objects, own_node_always=own_node_always)
    found: list[str] = []
    for flow, judged in zip(flows, answer.flows, strict=True):
        if judged.error:
            found.append(f"{flow}: {judged.error}")
        for side in SIDES:
            ours = judge.one_side(flow, side)
            if ours.allowed is not getattr(judged, side):
                found.append(f"{side} of {flow}: we say {ours}")
    return found


def _told(place: Place) -> dict[str, Any]:
    match place:
        case Pod():
            return {
                "pod": {
                    "namespace": place.namespace,
                    "account": place.account,
                    "labels": dict(place.labels),
                    "namespace_labels": dict(place.namespace_labels),
                    "ip": place.ip,
                }
            }
        case Node():
            return {"node": "own" if place.own else "other"}
        case Address():
            return {"address": {"ip": place.ip, "names": list(place.names)}}
