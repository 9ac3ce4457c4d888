"""Which APIs a cluster serves, and under which paths.

Read in two requests (aggregated discovery, KEP-3352), and again when a kind is asked for that was
not there, or somebody says that it changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cellplane.kube.client import JSON, KubeClient, Object
from cellplane.kube.errors import ApiFailure, Failure

_AGGREGATED: Final = f"{JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Resource:
    """One kind, as it is served."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        """Path of an object, of all in a namespace, or of all in the cluster."""
        prefix = "/apis/" if "/" in self.api_version else "/api/"
        where = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{prefix}{self.api_version}{where}/{self.plural}" + (f"/{name}" if name else "")


PODS: Final = Resource(api_version="v1", kind="Pod", plural="pods", namespaced=True)
EVENTS: Final = Resource(api_version="v1", kind="Event", plural="events", namespaced=True)
NODES: Final = Resource(api_version="v1", kind="Node", plural="nodes", namespaced=False)
NAMESPACES: Final = Resource(
    api_version="v1", kind="Namespace", plural="namespaces", namespaced=False
)
REPLICA_SETS: Final = Resource(
    api_version="apps/v1", kind="ReplicaSet", plural="replicasets", namespaced=True
)
SCHEMAS: Final = Resource(
    api_version="apiextensions.k8s.io/v1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    namespaced=False,
)


@dataclass(slots=True)
class Discovery:
    """The APIs of one cluster, as they were read last."""

    client: KubeClient
    version: str = ""
    """Version of Kubernetes, as in ``v1.36.0``."""
    apis: frozenset[str] = frozenset()
    """``<group>/<version>`` of each served API, and ``v1``."""
    _resources: dict[tuple[str, str], Resource] = field(default_factory=dict)

    async def refresh(self) -> bool:
        """Read again; whether anything is served that was not before, or the other way round."""
        resources: dict[tuple[str, str], Resource] = {}
        apis: set[str] = set()
        for root in ("/api", "/apis"):
            answer = await self.client.get(root, accept=_AGGREGATED)
            if answer.get("kind") != "APIGroupDiscoveryList":
                raise ApiFailure(
                    Failure.INVALID, "cluster has no aggregated discovery: use Kubernetes 1.30 on"
                )
            for group in answer.get("items", ()):
                apis |= _read_group(group, resources)
        info = await self.client.get("/version")
        changed = resources != self._resources
        self.version = str(info.get("gitVersion", ""))
        self._resources, self.apis = resources, frozenset(apis)
        return changed

    def find(self, api_version: str, kind: str) -> Resource | None:
        """A kind, if it was served when it was last looked."""
        return self._resources.get((api_version, kind))


def _read_group(group: Mapping[str, Any], found: dict[tuple[str, str], Resource]) -> set[str]:
    name = group.get("metadata", {}).get("name", "")
    apis: set[str] = set()
    for version in group.get("versions", ()):
        api = f"{name}/{version['version']}" if name else str(version["version"])
        if version.get("freshness") == "Stale" and not version.get("resources"):
            continue
        apis.add(api)
        for each in version.get("resources", ()):
            kind = _kind(each)
            if kind:
                found[api, kind] = Resource(
                    api_version=api,
                    kind=kind,
                    plural=each["resource"],
                    namespaced=each.get("scope") == "Namespaced",
                )
    return apis


def _kind(resource: Object) -> str:
    return str((resource.get("responseKind") or {}).get("kind", ""))
