"""The schemas that a sandbox's API servers know, taken from their projects' own Go modules.

A schema is never copied into this repository: it is downloaded by version and checksum, converted
to JSON once, and kept in the cache. Prose is left out: it is most of the bytes, and checks nothing.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from cellplane.sandbox import toolchain
from cellplane.sandbox.build import Progress, Tool, build, cache, only_one, run_go, silent
from cellplane.sandbox.toolchain import BuildError, Go

Schema = Mapping[str, Any]
"""One CustomResourceDefinition, as the API server reads it."""

_FORMAT = 1
"""Part of the cache's key: counts up with every change of the conversion."""


class CrdSet(StrEnum):
    """Schemas that belong together."""

    GATEWAY_API = "gateway-api"
    """The standard channel of Gateway API."""
    ENVOY_GATEWAY = "envoy-gateway"
    """Envoy Gateway's own, and the experimental channel of Gateway API: more than GATEWAY_API."""
    CILIUM = "cilium"
    """CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy."""
    CILIUM_AGENT = "cilium-agent"
    """Everything of Cilium's: what its agent waits for."""
    CERT_MANAGER = "cert-manager"
    ISTIO = "istio"
    """Istio's own, for the policies of a mesh."""
    EXTERNAL_SECRETS = "external-secrets"
    """ExternalSecret, and the stores that it names."""
    KEDA = "keda"
    """ScaledObject, which scales by events."""


ALL = frozenset({CrdSet.ENVOY_GATEWAY, CrdSet.CILIUM, CrdSet.CERT_MANAGER})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Files of one version of one Go module."""

    module: str
    version: str
    checksum: str
    """As ``go.sum`` has it."""
    files: tuple[str, ...]
    """Patterns below the module's root."""


_CILIUM = _Source(
    module="github.com/cilium/cilium",
    version="v1.18.4",
    checksum="h1:/HrbeMmk46UDkJs4uJemIqxB7wuZ+QRMNVscNYua5C8=",
    files=(),
)

_SOURCES = {
    CrdSet.GATEWAY_API: _Source(
        module="sigs.k8s.io/gateway-api",
        version="v1.3.0",
        checksum="h1:q6okN+/UKDATola4JY7zXzx40WO4VISk7i9DIfOvr9M=",
        files=("config/crd/standard/gateway.networking.k8s.io_*.yaml",),
    ),
    CrdSet.ENVOY_GATEWAY: _Source(
        module="github.com/envoyproxy/gateway",
        version="v1.9.1",
        checksum="h1:vAVp6/AlBXJ1aOhp1mxL7fNEzVEfjADUguUhm2wzxQY=",
        files=(
            "charts/gateway-helm/charts/crds/crds/gatewayapi-crds.yaml",
            "charts/gateway-helm/charts/crds/crds/generated/*.yaml",
        ),
    ),
    CrdSet.CILIUM: replace(
        _CILIUM, files=("pkg/k8s/apis/cilium.io/client/crds/v2/cilium*networkpolicies.yaml",)
    ),
    CrdSet.CILIUM_AGENT: replace(_CILIUM, files=("pkg/k8s/apis/cilium.io/client/crds/v2*/*.yaml",)),
    CrdSet.CERT_MANAGER: _Source(
        module="github.com/cert-manager/cert-manager",
        version="v1.19.1",
        checksum="h1:Txh8L/nLWTDcb7ZnXuXbTe15BxQnLbLirXmbNk0fGgY=",
        files=("deploy/crds/*.yaml",),
    ),
    CrdSet.ISTIO: _Source(
        module="istio.io/api",
        version="v1.28.0",
        checksum="h1:0fYY9G03CAdFwE/fCkpr0v7kKsy+Hz9OCCjLNBNLbnU=",
        files=("kubernetes/customresourcedefinitions.gen.yaml",),
    ),
    CrdSet.EXTERNAL_SECRETS: _Source(
        module="github.com/external-secrets/external-secrets",
        version="v0.19.2",
        checksum="h1:bdOpEt9Pww2e8QGh4apX7M0nehwNOVAQJLd8z6hAXWI=",
        files=(
            "config/crds/bases/external-secrets.io_externalsecrets.yaml",
            "config/crds/bases/external-secrets.io_*stores.yaml",
            "config/crds/bases/generators.external-secrets.io_passwords.yaml",
        ),
    ),
    CrdSet.KEDA: _Source(
        module="github.com/kedacore/keda/v2",
        version="v2.18.1",
        checksum="h1:h6bRt/IOxxtZpJlHSqhdH/lcInH7Z9obxg/JvWOmGAw=",
        files=("config/crd/bases/keda.sh_scaledobjects.yaml",),
    ),
}


async def schemas(wanted: Iterable[CrdSet], *, progress: Progress = silent) -> Sequence[Schema]:
    """The schemas of these sets, each once; downloaded and converted first where missing.

    Raises BuildError.
    """
    found: dict[str, Schema] = {}
    # The order of the enumeration lets ENVOY_GATEWAY's channel win over GATEWAY_API's.
    for chosen in sorted(wanted, key=list(CrdSet).index):
        for schema in await _set(chosen, progress):
            found[schema["metadata"]["name"]] = schema
    return tuple(found.values())


async def cilium_sources(progress: Progress = silent) -> Path:
    """The folder of Cilium's module, of the version of its schemas. Raises BuildError."""
    return await _download(await toolchain.find(), _CILIUM, progress)


async def _set(chosen: CrdSet, progress: Progress) -> Sequence[Schema]:
    source = _SOURCES[chosen]
    digest = hashlib.sha256(repr((source, _FORMAT)).encode()).hexdigest()[:16]
    converted = cache() / "crds" / f"{chosen}-{digest}.json"
    if not converted.exists():
        async with only_one(f"crds-{chosen}", progress):
            if not converted.exists():
                await _convert(source, converted, progress)
    schemas: Sequence[Schema] = json.loads(converted.read_text())
    return schemas


async def _convert(source: _Source, to: Path, progress: Progress) -> None:
    progress(f"reading the schemas of {source.module}@{source.version}")
    root = await _download(await toolchain.find(), source, progress)
    files = [path for pattern in source.files for path in sorted(root.glob(pattern))]
    if not files:
        raise BuildError(f"{source.module}@{source.version} has no {', '.join(source.files)}")
    programs = await build([Tool.CLUSTER], progress=progress)
    objects = json.loads(await _run_json(programs[Tool.CLUSTER], files))
    to.parent.mkdir(parents=True, exist_ok=True)
    scratch = to.with_name(f".{to.name}.{os.getpid()}")
    scratch.write_text(json.dumps([without_prose(each) for each in objects], separators=(",", ":")))
    scratch.rename(to)


async def _run_json(program: Path, files: Sequence[Path]) -> str:
    process = await asyncio.create_subprocess_exec(
        program, "json", *files, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    if process.returncode != 0:
        raise BuildError(f"schemas could not be read: {err.decode().strip()}")
    return out.decode()


async def _download(go: Go, source: _Source, progress: Progress) -> Path:
    where = f"{source.module}@{source.version}"
    # Outside of any module, or its go.mod would have a say in the version.
    with tempfile.TemporaryDirectory() as nowhere:
        said = await run_go(
            go,
            ["mod", "download", "-json", where],
            cwd=Path(nowhere),
            says=f"downloading {where}",
            progress=progress,
        )
    answer = json.loads(said)
    if answer["Sum"] != source.checksum:
        raise BuildError(f"{where} has checksum {answer['Sum']}, expected {source.checksum}")
    return Path(answer["Dir"])


def without_prose(value: Any) -> Any:
    """The same schema without its descriptions.

    A property may itself be called description: then its value is a schema, not a text.
    """
    match value:
        case dict():
            return {
                key: without_prose(below)
                for key, below in value.items()
                if not (key == "description" and isinstance(below, str))
            }
        case list():
            return [without_prose(each) for each in value]
        case _:
            return value
