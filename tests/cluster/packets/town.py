"""Everyone of the Cell's table as real pods on real nodes, and what becomes of their packets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellplane.network_policy.compiler.flows import Address, Flow, Node, Place, Pod
from cellplane.sandbox import cilium, cluster, images, nodes
from cellplane.sandbox.api import Api
from cellplane.sandbox.crds import CrdSet
from cellplane.sandbox.nodes import Nodes
from tests.golden.network_policy import world

OWN = ("api", "web", "batch", "egress", "stray")
REPLICA = "api-2"
"""The other replica: who calls ``api`` where the table says that ``api`` calls itself."""
_POLICIES = {
    "CiliumNetworkPolicy": "/apis/cilium.io/v2/namespaces/{}/ciliumnetworkpolicies",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}
_APPLY = "?fieldManager=test&force=true"
# Names that a component, or the egress gateway, may ask for: DNS has no words without a name.
_NAMES = (
    "collector.cellplane-observability.svc.cluster.local.",
    "envoy-gateway.envoy-gateway-system.svc.cluster.local.",
)
QUICK, SLOW = 2.0, 8.0
"""Seconds until an answer counts as none; the second where one was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the packets of one flow."""

    flow: Flow
    reached: bool
    answer: str
    """Who answered, or what a name was resolved to."""
    why: str


@dataclass(slots=True, kw_only=True)
class Resident:
    """A pod of the town."""

    name: str
    namespace: str
    node: int
    address: str = ""
    network: int = 0
    """A process of the pod, in its node's room."""


class Talk:
    """A connection in use."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        self._lines = process.stdout

    async def goes_on(self) -> None:
        """Return once something has been heard ten times from now on."""
        now, heard = time.time() * 1000, 0
        while heard < 10:
            line = await self._line()
            assert line.startswith("heard"), line
            heard += float(line.split()[1]) > now

    async def end(self) -> str:
        """How it ended."""
        while not (line := await self._line()).startswith("ended"):
            pass
        return line.removeprefix("ended").strip()

    async def _line(self) -> str:
        async with asyncio.timeout(SLOW):
            line = await self._lines.readline()
        assert line, "the prober is gone"
        return line.decode()


@dataclass(slots=True, kw_only=True)
class Town:
    """Everyone, running."""

    api: Api
    nodes: Nodes
    namespace: str
    """Of the Cell."""
    people: dict[str, Resident] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    # -- policies ----------------------------------------------------------------------------

    async def apply(self, policies: Iterable[Mapping[str, Any]]) -> None:
        """Make these the policies of the Cell, in place; returns when every pod lives by them."""
        before = [await cilium.revision(node.room) for node in self.nodes.nodes]
        paths = {kind: path.format(self.namespace) for kind, path in _POLICIES.items()}
        old = {
            f"{path}/{each['metadata']['name']}": each["metadata"]["generation"]
            for path in paths.values()
            for each in (await self.api.get(path))["items"]
        }
        uids, changed = set(), False
        for body in policies:
            path = f"{paths[body['kind']]}/{body['metadata']['name']}"
            answer = await self.api.call(
                "PATCH", f"{path}{_APPLY}", body, content="application/apply-patch+yaml"
            )
            assert answer.ok, answer.body
            uids.add(answer.body["metadata"]["uid"])
            changed |= old.pop(path, 0) != answer.body["metadata"]["generation"]
        for path in old:
            assert (await self.api.call("DELETE", path)).ok
        if changed or old:
            await asyncio.gather(*(self._settled(n, uids, last) for n, last in enumerate(before)))

    async def _settled(self, node: int, uids: set[str], last: int) -> None:
        """Wait until the agent has these policies, and all of its pods live by its newest ones."""
        room = self.nodes.nodes[node].room

        async def settled() -> bool:
            status, policy = await cilium.ask(room, "/v1/policy")
            if status != 200 or policy["revision"] <= last:
                return False
            return _uids(policy) == uids and await cilium.realized(room) >= policy["revision"]

        await until(settled, f"the policies are in force on node {node}", patience=60)

    # -- packets -----------------------------------------------------------------------------

    async def observe(self, flows: Sequence[Flow], *, patience: float = QUICK) -> list[Outcome]:
        """Try each flow with real packets; the outcomes in the order of the flows."""
        sources: dict[str, list[int]] = {}
        for index, flow in enumerate(flows):
            sources.setdefault(self._source(flow), []).append(index)
        outcomes: list[Outcome | None] = [None] * len(flows)

        async def one(source: str, indices: list[int]) -> None:
            tried = await self._from(source, [flows[i] for i in indices], patience)
            for index, outcome in zip(indices, tried, strict=True):
                outcomes[index] = outcome

        await asyncio.gather(*(one(source, indices) for source, indices in sources.items()))
        return [each for each in outcomes if each is not None]

    async def _from(self, source: str, flows: list[Flow], patience: float) -> list[Outcome]:
        # What is known by name is looked up first: that is how it becomes known.
        named = [
            {"protocol": "dns", "address": f"{self.address('dns')}:53", "name": f"{name}."}
            for flow in flows
            if isinstance(flow.destination, Address)
            for name in flow.destination.names
        ]
        if named and source in self.people:
            await self._ask(source, named, patience)
        targets = [(index, target) for index, f in enumerate(flows) for target in self._targets(f)]
        results = await self._ask(source, [target for _, target in targets], patience)
        outcomes: list[Outcome | None] = [None] * len(flows)
        for (index, _), result in zip(targets, results, strict=True):
            reached = result["error"] in {"", "mute", "refused"}
            if outcomes[index] is None or reached:
                outcomes[index] = Outcome(
                    flow=flows[index],
                    reached=reached,
                    answer=result["answer"],
                    why=result["error"],
                )
        return [each for each in outcomes if each is not None]

    def _targets(self, flow: Flow) -> list[dict[str, str]]:
        source = self._source(flow)
        address = f"{self._destination(flow)}:{flow.port}"
        at = {"address": address}
        if isinstance(flow.source, Address):
            at["from"] = flow.source.ip
        if flow.port == 53 and source in self.people:
            protocol = "dns" if flow.transport == "UDP" else "dns-tcp"
            names = (f"{flow.query}.",) if flow.query else _NAMES
            return [{**at, "protocol": protocol, "name": name} for name in names]
        return [{**at, "protocol": flow.transport.lower()}]

    async def _ask(
        self, source: str, targets: Sequence[Mapping[str, str]], patience: float
    ) -> list[dict[str, str]]:
        ask = [self.nodes.probe, "ask", str(patience)]
        if source in self.people:
            who = self.people[source]
            room = self.nodes.nodes[who.node].room
            command = ["nsenter", f"--target={who.network}", "--net", "--", *ask]
        elif source == "outside":
            room, command = self.nodes.outside, ask
        else:
            room, command = self.nodes.nodes[int(source)].room, ask
        results: list[dict[str, str]] = json.loads(
            await room.run(*command, given=json.dumps(targets))
        )
        return results

    @asynccontextmanager
    async def talk(self, source: str, target: str) -> AsyncIterator[Talk]:
        """An open connection between two residents, over which both keep talking."""
        who = self.people[source]
        process = await asyncio.create_subprocess_exec(
            *self.nodes.nodes[who.node].room.entering(
                *("nsenter", f"--target={who.network}", "--net", "--"),
                *(self.nodes.probe, "hold", target),
            ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        talk = Talk(process)
        try:
            await talk.goes_on()
            yield talk
        finally:
            # What a signal would reach is not the prober, which ends with its input.
            await process.communicate(b"")

    # -- places ------------------------------------------------------------------------------

    def name(self, place: Place) -> str:
        """The resident that stands for a place of the table."""
        return self._names[repr(place)]

    def told(self, outcome: Outcome) -> str:
        """An outcome in words, for a failure."""
        flow = outcome.flow
        became = f"reached {outcome.answer}" if outcome.reached else "nothing"
        return (
            f"{self._source(flow)} → {self._destination(flow)}:{flow.port}/{flow.transport} "
            f"{flow.query}: {became} ({outcome.why}); {flow.source} to {flow.destination}"
        )

    def address(self, name: str) -> str:
        """The address of a resident."""
        return self.people[name].address

    def _source(self, flow: Flow) -> str:
        match flow.source:
            case Pod():
                name = self.name(flow.source)
                same = isinstance(flow.destination, Pod) and self.name(flow.destination) == name
                return REPLICA if same else name
            case Node(own=own):
                assert isinstance(flow.destination, Pod)
                here = self.people[self.name(flow.destination)].node
                return str(here if own else 1 - here)
            case Address():
                return "outside"

    def _destination(self, flow: Flow) -> str:
        match flow.destination:
            case Pod():
                return self.address(self.name(flow.destination))
            case Node(own=own):
                here = self.people[self._source(flow)].node
                return self.nodes.nodes[here if own else 1 - here].place.address
            case Address(ip=ip):
                return ip

    # -- pods --------------------------------------------------------------------------------

    async def move_in(self, name: str, place: Pod, node: int, *arguments: str) -> Resident:
        """Create a pod that runs the probe; returns once it is there, not when it runs."""
        for path, body in (
            ("/api/v1/namespaces", {"metadata": {"name": place.namespace}}),
            (
                f"/api/v1/namespaces/{place.namespace}/serviceaccounts",
                {"metadata": {"name": place.account}},
            ),
            (
                f"/api/v1/namespaces/{place.namespace}/pods",
                _pod(name, place, self.nodes.nodes[node].name, arguments),
            ),
        ):
            await self.api.create(path, body)
        self.people[name] = Resident(name=name, namespace=place.namespace, node=node)
        return self.people[name]

    async def move_out(self, name: str) -> None:
        """Delete a pod, and wait until it is gone."""
        who = self.people.pop(name)
        path = f"/api/v1/namespaces/{who.namespace}/pods/{name}"
        assert (await self.api.call("DELETE", path)).ok

        async def gone() -> bool:
            return (await self.api.call("GET", path)).status == 404

        await until(gone, f"{name} is gone", patience=60)

    async def at_home(self, names: Iterable[str]) -> None:
        """Wait until these residents run, and note where."""
        waiting = set(names)

        async def run() -> bool:
            for pod in (await self.api.get("/api/v1/pods"))["items"]:
                name, status = pod["metadata"]["name"], pod["status"]
                if name in waiting and status["phase"] == "Running" and status.get("podIP"):
                    identity = status["containerStatuses"][0]["containerID"].split("//")[1]
                    who = self.people[name]
                    who.address = status["podIP"]
                    who.network = await self._process(who.node, identity)
                    waiting.discard(name)
            return not waiting

        await until(run, "all pods run", patience=180)

    async def _process(self, node: int, container: str) -> int:
        listed = await self.nodes.nodes[node].room.run(
            "ctr", "--address=/run/containerd/containerd.sock", "--namespace=k8s.io", "tasks", "ls"
        )
        rows = (line.split() for line in listed.splitlines())
        return next(int(row[1]) for row in rows if row and row[0] == container)

    async def logged(self, name: str, words: str, *, times: int) -> None:
        """Wait until these words are so often in a resident's log."""

        async def found() -> bool:
            return self.log(name).count(words) >= times

        await until(found, f"{name} writes {words!r} {times} times", patience=60)

    def log(self, name: str) -> str:
        """What a resident's program has written so far."""
        who = self.people[name]
        node = self.nodes.nodes[who.node]
        pattern = f"{who.namespace}_{name}_*/*/*.log"
        files = sorted((node.room.state / "nodes" / node.name / "logs").glob(pattern))
        return "".join(each.read_text() for each in files)


@asynccontextmanager
async def town(state: Path, flows: Sequence[Flow], namespace: str) -> AsyncIterator[Town]:
    """A cluster of two real nodes where everyone whom the flows name is at home."""
    addresses = sorted(
        {p.ip for f in flows for p in (f.source, f.destination) if isinstance(p, Address)}
    )
    crds = frozenset({CrdSet.CILIUM_AGENT})
    async with cluster.running("packets", state, crds=crds, nodes=0) as info:
        made = await nodes.start(info.name, state, port=info.port, count=2, outside=addresses)
        async with Api(info.kubeconfig.read_text()) as api:
            town = Town(api=api, nodes=made, namespace=namespace)
            await _settle(town, flows)
            yield town


async def _settle(town: Town, flows: Sequence[Flow]) -> None:
    places = {name: world._own(town.namespace, name) for name in OWN}
    places |= {name: place for name, place in world.PLACES.items() if isinstance(place, Pod)}
    town._names = {repr(place): name for name, place in places.items()}
    hosts = [
        f"{name}={place.ip}"
        for place in world.PLACES.values()
        if isinstance(place, Address)
        for name in place.names
    ]
    doors: dict[str, set[str]] = {}
    for flow in flows:
        match flow.destination:
            case Pod():
                doors.setdefault(town.name(flow.destination), set()).add(_door(flow))
            case Address(ip=ip):
                doors.setdefault("outside", set()).add(_door(flow, f"{ip}:"))
            case Node():
                doors.setdefault("nodes", set()).add(_door(flow))
    for index, (name, place) in enumerate([*places.items(), (REPLICA, places["api"])]):
        wanted = sorted(doors.get(name, ())) or ["tcp:9"]
        await town.move_in(name, place, index % 2, "serve", name, *wanted, *hosts)
    probe = town.nodes.probe
    town.nodes.outside.spawn(
        "doors", [probe, "serve", "outside", *sorted(doors.get("outside", ()))]
    )
    for node in town.nodes.nodes:
        # The kubelet's port is the kubelet's.
        wanted = sorted(doors.get("nodes", set()) - {"tcp:10250"})
        node.room.spawn("doors", [probe, "serve", node.name, *wanted])
    await town.at_home(town.people)


def _door(flow: Flow, address: str = "") -> str:
    kind = "dns" if flow.port == 53 else flow.transport.lower()
    return f"{kind}:{address}{flow.port}"


def _pod(name: str, place: Pod, node: str, arguments: Sequence[str]) -> Mapping[str, Any]:
    return {
        "metadata": {"name": name, "namespace": place.namespace, "labels": dict(place.labels)},
        "spec": {
            "nodeName": node,
            "serviceAccountName": place.account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "dnsPolicy": "Default",
            "containers": [
                {
                    "name": "probe",
                    "image": images.PROBE,
                    "imagePullPolicy": "Never",
                    "command": ["/probe", *arguments],
                }
            ],
        },
    }


def _uids(policy: Mapping[str, Any]) -> set[str]:
    found = set()
    for rule in json.loads(policy["policy"]):
        for label in rule["labels"]:
            if label["key"] == "io.cilium.k8s.policy.uid":
                found.add(label["value"])
    return found


async def until(holds: Any, fact: str, *, patience: float) -> None:
    """Wait until something holds."""
    deadline = asyncio.get_running_loop().time() + patience
    while not await holds():
        assert asyncio.get_running_loop().time() < deadline, f"not within {patience} s: {fact}"
        await asyncio.sleep(0.05)
