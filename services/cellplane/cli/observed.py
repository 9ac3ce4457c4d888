"""``observed``: what was stopped on the network, and how to declare what was meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from cellplane.cli.options import Files, Format, Organization, Output, Profile

_BATCH = 10_000


def observed(
    cell: Annotated[str, typer.Argument(help="Cell, such as boutique/development.")],
    flows: Annotated[
        Path, typer.Argument(help="File of `hubble observe -o json`, or - for standard input.")
    ],
    *,
    filename: Files = None,
    data_plane: Annotated[
        Path | None,
        typer.Option("--data-plane", help="File that describes a data plane, to ask no server."),
    ] = None,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Say which denied flows are connections that nobody declared, with the lines to declare them.

    Example: hubble observe --verdict DROPPED -o json | cellplane observed boutique/development -
    """
    import json
    import sys

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli.exits import Ended
    from cellplane.cli.render.document import dump, plain
    from cellplane.cli.render.output import say

    try:
        text = sys.stdin.read() if str(flows) == "-" else flows.read_text(encoding="utf-8")
    except OSError as error:
        raise Ended(message=f"flows {flows} cannot be read: {error.strerror}") from error
    lines = [line for line in text.splitlines() if '"DROPPED"' in line]
    found = (
        _offline(cell, lines, filename, data_plane, organization)
        if data_plane is not None
        else _live(cell, lines, organization, profile)
    )
    match output:
        case Format.JSON:
            print(json.dumps([MessageToDict(f) for f in found], indent=2, ensure_ascii=False))
        case Format.YAML:
            print("---\n".join(dump(plain(f)) for f in found), end="")
        case _:
            for line in _told(found):
                print(line)
    say(f"{len(lines)} denied flows, {len(found)} findings")


def _live(cell: str, lines: list[str], organization: Any, profile: Any) -> list[Any]:
    from cellplane.api.network_policy.v1 import observed_pb2
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import Client, run
    from cellplane.cli.kinds import by_name, method

    chosen = profiles.load(profile, organization)
    name = by_name("Cell").parse(cell, chosen.organization)
    target = method("cellplane.api.network_policy.v1.NetworkPolicyService.ExplainFlows")

    async def ask() -> list[Any]:
        found: list[Any] = []
        async with Client(chosen) as client:
            for at in range(0, len(lines), _BATCH):
                request = observed_pb2.ExplainFlowsRequest(cell=name, flows=lines[at : at + _BATCH])
                answer = await client.call("network_policy", target, request)
                found += answer.findings
        return found

    return run(ask())


def _offline(
    cell: str, lines: list[str], filename: Any, data_plane: Path, organization: str | None
) -> list[Any]:
    from cellplane.api.network_policy.v1 import observed_pb2
    from cellplane.cli.offline import given
    from cellplane.network_policy.compiler.observed import Finding, denied, findings
    from cellplane.rpc.codec import Codec

    project, _, environment = cell.rpartition("/")
    known = given.read(filename, data_plane, environment, organization)
    codec = Codec(Finding, observed_pb2.Finding)
    return [
        codec.to_wire(finding)
        for finding in findings(known.cells, denied(lines))
        if f"/projects/{project}/" in finding.cell
    ]


def _told(found: Iterable[Any]) -> Iterator[str]:
    for finding in found:
        times = f"{finding.flow_count} times" if finding.flow_count > 1 else "once"
        yield f"{finding.reason}: {finding.message} ({times})"
        yield from (f"  {line}" for line in finding.snippet.splitlines())
