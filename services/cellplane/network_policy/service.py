"""The network policy service's gRPC face."""

from __future__ import annotations

from typing import Any

from cellplane.api.network_policy.v1 import (
    network_policy_pb2_grpc,
    observed_pb2,
    reach_pb2,
)
from cellplane.api.type.v1 import compile_pb2
from cellplane.cell.names import last_segment
from cellplane.network_policy import convert
from cellplane.network_policy.compiler.observed import denied, findings
from cellplane.network_policy.compiler.reach import can_reach
from cellplane.network_policy.compiler.survey import survey
from cellplane.network_policy.known import Known


class NetworkPolicyService(network_policy_pb2_grpc.NetworkPolicyServiceServicer):
    """Compiles the policies of Cells, and judges them."""

    def __init__(self, known: Known) -> None:
        self._compile = convert.compile_adapter()
        self._compile_platform = convert.platform_adapter()
        self._reach = convert.reach_codec()
        self._survey = convert.survey_codec()
        self._finding = convert.finding_codec()
        self._known = known

    async def Compile(  # noqa: N802 - the contract's name
        self, request: compile_pb2.CompileRequest, context: Any
    ) -> compile_pb2.CompileResponse:
        """See ``network_policy/v1/network_policy.proto``."""
        del context
        return self._compile.answer(request)

    async def CompilePlatform(  # noqa: N802
        self, request: compile_pb2.CompilePlatformRequest, context: Any
    ) -> compile_pb2.CompilePlatformResponse:
        """See ``network_policy/v1/network_policy.proto``."""
        del context
        return self._compile_platform.answer(request)

    async def CanReach(  # noqa: N802
        self, request: reach_pb2.CanReachRequest, context: Any
    ) -> reach_pb2.CanReachResponse:
        """Say who reaches whom, and why, on every data plane of the Cell."""
        del context
        question = convert.question_of(request)
        ends = (question.source, question.destination)
        projects = {end.partition("/")[0] for end in ends if "/" in end}
        sites = await self._known.sites(request.cell, projects)
        return reach_pb2.CanReachResponse(
            reaches=[self._reach.to_wire(can_reach(site, question)) for site in sites]
        )

    async def Verify(  # noqa: N802
        self, request: reach_pb2.VerifyRequest, context: Any
    ) -> reach_pb2.VerifyResponse:
        """Try the whole table of the Cell on every data plane of it."""
        del context
        sites = await self._known.sites(request.cell)
        project = last_segment(request.cell.partition("/cells/")[0])
        return reach_pb2.VerifyResponse(
            surveys=[
                self._survey.to_wire(survey(site.data_plane, site.cells[project], site.objects))
                for site in sites
            ]
        )

    async def ExplainFlows(  # noqa: N802
        self, request: observed_pb2.ExplainFlowsRequest, context: Any
    ) -> observed_pb2.ExplainFlowsResponse:
        """Say which denied flows are connections that nobody declared."""
        del context
        flows = list(denied(request.flows))
        projects = {flow.destination_project for flow in flows} - {""}
        cells = await self._known.cells(request.cell, projects)
        found = findings(cells, flows)
        return observed_pb2.ExplainFlowsResponse(
            findings=[self._finding.to_wire(f) for f in found if f.cell == request.cell]
        )
