"""``can-reach`` and ``verify``: who reaches whom, why, and whether that is what must be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from cellplane.cli.options import Files, Format, Organization, Output, Profile

DataPlane = Annotated[
    Path | None,
    typer.Option("--data-plane", help="File that describes a data plane, to ask no server."),
]
Environment = Annotated[
    str | None, typer.Option("--environment", "-e", help="Environment of the Cells.")
]
_SERVICE = "cellplane.api.network_policy.v1.NetworkPolicyService"


def can_reach(
    source: Annotated[
        str, typer.Argument(help="Who connects: project/component, internet, an address, …")
    ],
    destination: Annotated[str, typer.Argument(help="Who is connected to, with :port.")],
    *,
    environment: Environment = None,
    transport: Annotated[
        str, typer.Option("--transport", help="TCP or UDP. Default: the endpoint's.")
    ] = "",
    filename: Files = None,
    data_plane: DataPlane = None,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Say whether A reaches B, by which way, and which rules decide. Exit code 1 if not.

    Example: cellplane can-reach boutique/frontend boutique/cartservice:7070 -e development
    """
    import json

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli.exits import FAILURE, usage
    from cellplane.cli.render.document import dump, plain

    host, colon, port = destination.rpartition(":")
    if not colon or not port:
        raise usage(f'"{destination}" has no port: write {destination or "B"}:443, or an endpoint')
    asked = (source, host, port, transport.upper())
    if data_plane is not None:
        answer = _reach_offline(asked, filename, data_plane, environment, organization)
    else:
        answer = _reach_live(asked, environment, organization, profile)
    match output:
        case Format.JSON:
            print(json.dumps(MessageToDict(answer), indent=2, ensure_ascii=False))
        case Format.YAML:
            print(dump(plain(answer)), end="")
        case _:
            for line in _told(answer, source, destination):
                print(line)
    raise typer.Exit(0 if all(r.allowed for r in answer.reaches) else FAILURE)


def verify(
    cell: Annotated[str, typer.Argument(help="Cell, such as boutique/development.")],
    *,
    against: Annotated[
        str | None,
        typer.Option("--against", help="Cell that it is compared with: what opens, what closes."),
    ] = None,
    filename: Files = None,
    data_plane: DataPlane = None,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Try the whole table of a Cell, and say what is open. Exit code 1 if anything is wrong.

    Example: cellplane verify boutique/staging --against boutique/development
    """
    from cellplane.cli.exits import FAILURE
    from cellplane.cli.render.output import say

    answer, other = (
        _verify_offline(cell, against, filename, data_plane, organization)
        if data_plane is not None
        else _verify_live(cell, against, organization, profile)
    )
    if other is None:
        for survey in answer.surveys:
            for opening in survey.openings:
                print(f"{survey.data_plane}  {_line(opening)}")
    else:
        for line in _compared(answer, other):
            print(line)
    wrong = 0
    for survey in answer.surveys:
        limits = sum(v.limit for v in survey.violations)
        violations = [v for v in survey.violations if not v.limit]
        wrong += len(violations)
        for violation in violations:
            word = "passes and must not" if violation.allowed else "must pass and does not"
            say(f"{survey.data_plane}: {_line(violation.opening)} {word}: {violation.rules[0]}")
        note = f"; {limits} from its own node, which NetworkPolicy lets in" if limits else ""
        say(
            f"{survey.data_plane}: {survey.check_count} connections tried, "
            f"{len(survey.openings)} open, {len(violations)} not as they must be{note}"
        )
    raise typer.Exit(FAILURE if wrong else 0)


def _reach_live(
    asked: tuple[str, str, str, str], environment: str | None, organization: Any, profile: Any
) -> Any:
    from cellplane.api.network_policy.v1 import reach_pb2
    from cellplane.cli.exits import usage

    source, host, port, transport = asked
    project = next((end.partition("/")[0] for end in (source, host) if "/" in end), "")
    if not project:
        raise usage("neither end is a component: write one as project/component")
    if not environment:
        raise usage("which environment? give --environment")

    def request(cell: str) -> reach_pb2.CanReachRequest:
        return reach_pb2.CanReachRequest(
            cell=cell, source=source, destination=host, port=port, transport=transport
        )

    wanted = f"{project}/{environment.rsplit('/', 1)[-1]}"
    (answer,) = _call("CanReach", [wanted], request, organization, profile)
    return answer


def _verify_live(cell: str, against: str | None, organization: Any, profile: Any) -> Any:
    from cellplane.api.network_policy.v1 import reach_pb2

    def request(name: str) -> reach_pb2.VerifyRequest:
        return reach_pb2.VerifyRequest(cell=name)

    wanted = [cell, *([against] if against else [])]
    answers = _call("Verify", wanted, request, organization, profile)
    return answers[0], answers[1] if against else None


def _call(word: str, cells: list[str], request: Any, organization: Any, profile: Any) -> list[Any]:
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import Client, run
    from cellplane.cli.kinds import by_name, method

    chosen = profiles.load(profile, organization)
    names = [by_name("Cell").parse(cell, chosen.organization) for cell in cells]

    async def ask() -> list[Any]:
        async with Client(chosen) as client:
            target = method(f"{_SERVICE}.{word}")
            return [await client.call("network_policy", target, request(name)) for name in names]

    return run(ask())


def _reach_offline(
    asked: tuple[str, str, str, str],
    filename: Any,
    data_plane: Path,
    environment: str | None,
    organization: str | None,
) -> Any:
    from cellplane.api.network_policy.v1 import reach_pb2
    from cellplane.cell.problem import Invalid
    from cellplane.cli.exits import usage
    from cellplane.cli.offline import given, judged
    from cellplane.network_policy.compiler.reach import Question, Reach, can_reach
    from cellplane.rpc.codec import Codec

    found = given.read(filename, data_plane, environment, organization)
    source, host, port, transport = asked
    question = Question(source=source, destination=host, port=port, transport=transport)
    try:
        reach = can_reach(judged.site(found.cells, found.plane), question)
    except Invalid as wrong:
        raise usage(str(wrong)) from wrong
    return reach_pb2.CanReachResponse(reaches=[Codec(Reach, reach_pb2.Reach).to_wire(reach)])


def _verify_offline(
    cell: str, against: str | None, filename: Any, data_plane: Path, organization: str | None
) -> Any:
    from cellplane.api.network_policy.v1 import reach_pb2
    from cellplane.cli.exits import usage
    from cellplane.cli.offline import given, judged
    from cellplane.network_policy.compiler.survey import Survey, survey
    from cellplane.rpc.codec import Codec

    codec = Codec(Survey, reach_pb2.Survey)

    def one(name: str) -> reach_pb2.VerifyResponse:
        project, _, environment = name.rpartition("/")
        found = given.read(filename, data_plane, environment, organization)
        site = judged.site(found.cells, found.plane)
        if project not in site.cells:
            known = ", ".join(sorted(site.cells))
            raise usage(f'no component of project "{project}" is given: there are {known}')
        made = survey(found.plane.data_plane, site.cells[project], site.objects)
        return reach_pb2.VerifyResponse(surveys=[codec.to_wire(made)])

    return one(cell), one(against) if against else None


def _told(answer: Any, source: str, destination: str) -> Iterator[str]:
    for reach in answer.reaches:
        word = "can reach" if reach.allowed else "cannot reach"
        yield f"{reach.data_plane}: {source} {word} {destination}"
        for way in reach.ways:
            yield f"  {way.way}: {'open' if way.allowed else 'closed'}"
            for hop in way.hops:
                mark = "passes" if hop.allowed else "is stopped"
                yield f"    {_line(hop)} {mark}"
                yield from (f"      {rule}" for rule in hop.rules)


def _compared(answer: Any, other: Any) -> Iterator[str]:
    """What the one opens and closes against the other, over all data planes."""
    one, two = _all(answer.surveys), _all(other.surveys)
    yield from (f"opens   {line}" for line in sorted(one - two))
    yield from (f"closes  {line}" for line in sorted(two - one))


def _all(surveys: Iterable[Any]) -> set[str]:
    return {_line(opening) for survey in surveys for opening in survey.openings}


def _line(opening: Any) -> str:
    suffix = "" if opening.transport == "TCP" else f"/{opening.transport.lower()}"
    return f"{opening.source} → {opening.destination}:{opening.port}{suffix}"
