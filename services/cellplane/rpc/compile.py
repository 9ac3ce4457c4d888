"""The compilers' side of the wire, once: a request becomes domain values, an answer the wire's.

A servicer hands its pure compile function over and answers in one line::

    self._compile = CompileAdapter(compile)
    ...
    async def Compile(self, request, context):
        return self._compile.answer(request)

What is wrong with a *request* raises ``Invalid``; what a Cell cannot have on a plane is a
``Problem`` in the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from google.protobuf.field_mask_pb2 import FieldMask

from cellplane.api.type.v1 import compile_pb2, problem_pb2, resolved_cell_pb2
from cellplane.cell.cell import CellFrame, ResolvedCell, ResolvedComponent
from cellplane.cell.manifest import Compiled, Manifest
from cellplane.cell.plane import DataPlaneProfile, Peers
from cellplane.cell.problem import Findings, Invalid, Problem
from cellplane.rpc.codec import Codec


class Compile(Protocol):
    """A pure compiler: total, and the same bytes for the same meaning."""

    def __call__(
        self, cell: ResolvedCell, plane: DataPlaneProfile, peers: Peers, *, include_frame: bool
    ) -> Compiled:
        """Compile the frame, if it is asked for, and each component on its own."""
        ...


class CompileAdapter:
    """Serves one compile function as ``Compile(CompileRequest) -> CompileResponse``."""

    __slots__ = (
        "_component",
        "_frame",
        "_function",
        "_manifest",
        "_mask",
        "_peers",
        "_plane",
        "_problem",
    )

    def __init__(self, function: Compile, *, reads: Sequence[str] = ()) -> None:
        """``reads``: the fields of a component that *function* looks at; all if empty.

        It gets no others, so an answer never depends on what was not named here.
        """
        self._function = function
        self._mask = FieldMask(paths=reads) if reads else None
        self._frame = Codec(CellFrame, resolved_cell_pb2.CellFrame)
        self._component = Codec(ResolvedComponent, resolved_cell_pb2.ResolvedComponent)
        self._plane = Codec(DataPlaneProfile, compile_pb2.DataPlaneProfile)
        self._peers = Codec(Peers, compile_pb2.Peers)
        self._manifest = Codec(Manifest, compile_pb2.Manifest)
        self._problem = Codec(Problem, problem_pb2.Problem)

    def answer(self, request: compile_pb2.CompileRequest) -> compile_pb2.CompileResponse:
        """Compile what is asked for.

        Raises:
            Invalid: the frame or the data plane is missing, or a connection leads nowhere.
        """
        _require_whole(request)
        cell = ResolvedCell(
            cell=request.cell.cell,
            revision=request.cell.revision,
            frame=self._frame.to_domain(request.cell.frame),
            components=tuple(self._read(c) for c in request.cell.components),
        )
        compiled = self._function(
            cell,
            self._plane.to_domain(request.data_plane),
            self._peers.to_domain(request.peers),
            include_frame=request.include_frame,
        )
        return compile_pb2.CompileResponse(
            manifests=[self._manifest.to_wire(m) for m in compiled.manifests],
            problems=[self._problem.to_wire(p) for p in compiled.problems],
            component_mask=self._mask,
        )

    def _read(self, component: resolved_cell_pb2.ResolvedComponent) -> ResolvedComponent:
        if self._mask is not None:
            component = seen_through(self._mask, component)
        return self._component.to_domain(component)


class PlatformAdapter:
    """Serves a function as ``CompilePlatform(CompilePlatformRequest)``."""

    __slots__ = ("_function", "_manifest", "_plane", "_problem")

    def __init__(self, function: Callable[[DataPlaneProfile], Compiled]) -> None:
        self._function = function
        self._plane = Codec(DataPlaneProfile, compile_pb2.DataPlaneProfile)
        self._manifest = Codec(Manifest, compile_pb2.Manifest)
        self._problem = Codec(Problem, problem_pb2.Problem)

    def answer(
        self, request: compile_pb2.CompilePlatformRequest
    ) -> compile_pb2.CompilePlatformResponse:
        """Compile for a data plane.

        Raises:
            Invalid: the data plane is missing.
        """
        findings = Findings()
        _require_plane(request, findings)
        if findings.problems:
            raise Invalid("compile request is not whole", problems=findings.problems)
        compiled = self._function(self._plane.to_domain(request.data_plane))
        return compile_pb2.CompilePlatformResponse(
            manifests=[self._manifest.to_wire(m) for m in compiled.manifests],
            problems=[self._problem.to_wire(p) for p in compiled.problems],
        )


def seen_through(
    mask: FieldMask, component: resolved_cell_pb2.ResolvedComponent
) -> resolved_cell_pb2.ResolvedComponent:
    """A component's fields that *mask* names, and no others."""
    seen = resolved_cell_pb2.ResolvedComponent()
    mask.MergeMessage(component, seen)
    return seen


def _require_whole(request: compile_pb2.CompileRequest) -> None:
    """Refuse what the domain's types cannot say."""
    findings = Findings()
    _require_plane(request, findings)
    cell = findings.at("cell")
    if not request.cell.cell:
        cell.at("cell").add("FIELD_REQUIRED", "cell.cell is not set: give the name of the Cell")
    if not request.cell.HasField("frame"):
        cell.at("frame").add(
            "FIELD_REQUIRED", "cell.frame is not set: each component is compiled in its frame"
        )
    for index, component in enumerate(request.cell.components):
        where = cell.at("components").at(index)
        if not component.HasField("workload"):
            where.at("workload").add(
                "FIELD_REQUIRED", f'component "{component.component}" has no workload'
            )
        if not component.kind:
            where.at("kind").add("FIELD_REQUIRED", f'component "{component.component}" has no kind')
        for at, endpoint in enumerate(component.endpoints):
            if not endpoint.protocol:
                where.at("endpoints").at(at).at("protocol").add(
                    "FIELD_REQUIRED", f'endpoint "{endpoint.endpoint}" has no protocol'
                )
        _require_targets(where.at("connections"), list(component.connections))
    _require_targets(
        cell.at("frame").at("outbound"), [o.connection for o in request.cell.frame.outbound]
    )
    if findings.problems:
        raise Invalid("compile request is not whole", problems=findings.problems)


def _require_plane(
    request: compile_pb2.CompileRequest | compile_pb2.CompilePlatformRequest, findings: Findings
) -> None:
    if not request.HasField("data_plane"):
        findings.at("data_plane").add("FIELD_REQUIRED", "data_plane is not set: name the plane")


def _require_targets(
    findings: Findings, connections: list[resolved_cell_pb2.ResolvedConnection]
) -> None:
    for index, connection in enumerate(connections):
        if connection.WhichOneof("target") is None:
            findings.at(index).add(
                "FIELD_REQUIRED",
                f'connection "{connection.connection}" has no target: set cell, organization or '
                "external",
            )
        if not connection.protocol:
            findings.at(index).at("protocol").add(
                "FIELD_REQUIRED", f'connection "{connection.connection}" has no protocol'
            )
