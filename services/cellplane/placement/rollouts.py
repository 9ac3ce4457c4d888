"""What can be asked of rollouts: how far they are, and to stop, resume or approve them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from cellplane.api.placement.v1 import rollout_pb2, rollout_pb2_grpc
from cellplane.cell.names import CellName
from cellplane.cell.problem import Invalid, Problem
from cellplane.placement.convert import stamp_of
from cellplane.placement.engine import Engine
from cellplane.placement.rollout.progress import UNDER_WAY, Phase, PlaneProgress, Rollout, Step


class RolloutService(rollout_pb2_grpc.RolloutServiceServicer):
    """Says how far changes of Cells are; see ``placement/v1/rollout.proto``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def GetRollout(  # noqa: N802 - the contract's name
        self, request: rollout_pb2.GetRolloutRequest, context: Any
    ) -> rollout_pb2.Rollout:
        """How far the latest change is."""
        del context
        cell = _cell_of(request.name)
        return self._shown(cell, self._engine.rolling.get(cell))

    async def StopRollout(  # noqa: N802 - the contract's name
        self, request: rollout_pb2.StopRolloutRequest, context: Any
    ) -> rollout_pb2.Rollout:
        """Begin nothing more."""
        del context
        cell = _cell_of(request.name)
        return self._woken(cell, await self._engine.rolling.stop(cell))

    async def ResumeRollout(  # noqa: N802 - the contract's name
        self, request: rollout_pb2.ResumeRolloutRequest, context: Any
    ) -> rollout_pb2.Rollout:
        """Go on."""
        del context
        cell = _cell_of(request.name)
        return self._woken(cell, await self._engine.rolling.resume(cell))

    async def ApproveRollout(  # noqa: N802 - the contract's name
        self, request: rollout_pb2.ApproveRolloutRequest, context: Any
    ) -> rollout_pb2.Rollout:
        """Let the next wave begin."""
        del context
        cell = _cell_of(request.name)
        return self._woken(cell, await self._engine.rolling.approve(cell, request.revision))

    def _woken(self, cell: str, rollout: Rollout) -> rollout_pb2.Rollout:
        self._engine.workers.wake(cell)
        return self._shown(cell, rollout)

    def _shown(self, cell: str, rollout: Rollout) -> rollout_pb2.Rollout:
        return rollout_to_wire(cell, rollout, self._engine.rolling.now())


def rollout_to_wire(cell: str, rollout: Rollout, now: float) -> rollout_pb2.Rollout:
    """A rollout, with what it does now."""
    phase = rollout.phase(now)
    return rollout_pb2.Rollout(
        name=f"{cell}/rollout",
        phase=rollout_pb2.Rollout.Phase.Value(phase.value),
        revision=rollout.target,
        summary=" ".join(_said(rollout, phase)),
        waves=[
            rollout_pb2.RolloutStage(
                data_planes=[_plane(rollout.planes[name]) for name in wave.data_planes],
                current=at == rollout.wave,
                approval=wave.approval,
                mandatory=wave.mandatory,
            )
            for at, wave in enumerate(rollout.waves)
        ],
        failure_count=rollout.failures,
        failure_budget=rollout.budget,
        start_time=stamp_of(datetime.fromtimestamp(rollout.begin, UTC)),
    )


def _plane(plane: PlaneProgress) -> rollout_pb2.RolloutPlane:
    return rollout_pb2.RolloutPlane(
        data_plane=plane.data_plane,
        step=rollout_pb2.RolloutPlane.Step.Value(plane.step.value),
        base_revision=plane.base,
        message=plane.message,
        step_time=stamp_of(datetime.fromtimestamp(plane.since, UTC)),
        counted=plane.counted,
    )


def _said(rollout: Rollout, phase: Phase) -> Iterator[str]:
    planes = rollout.planes.values()
    have = sum(p.step is Step.DONE for p in planes)
    yield f"revision {rollout.target} is on {have} of {len(planes)} data planes"
    under_way = sorted(p.data_plane for p in planes if p.step in UNDER_WAY)
    if under_way:
        yield f"and comes to {', '.join(under_way)}"
    match phase:
        case Phase.WAITING_FOR_APPROVAL:
            yield f"; wave {rollout.wave + 1} waits to be approved"
        case Phase.WAITING:
            yield f"; wave {rollout.wave + 1} waits for its time"
        case Phase.STOPPED:
            yield "; somebody stopped it"
        case Phase.FAILED:
            yield f"; it broke {rollout.failures}, and may break {rollout.budget}"
        case Phase.RUNNING | Phase.DONE:
            pass


def _cell_of(name: str) -> str:
    cell = name.removesuffix("/rollout")
    if cell == name or CellName.parse(cell) is None:
        pattern = "organizations/*/projects/*/cells/*/rollout"
        message = f'name "{name}" is not of the form {pattern}'
        problem = Problem(reason="NAME_MALFORMED", message=message, field="name", value=name)
        raise Invalid(message, problems=[problem], reason="NAME_MALFORMED")
    return cell
