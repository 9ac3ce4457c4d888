"""``call``: any method of any service, with the certificate and addresses of the profile.

Everything that the control plane can do is a method; not everything has a verb of its own here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellplane.cli import completion
from cellplane.cli.options import Organization, Profile

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor


def call(
    method: Annotated[
        str | None,
        typer.Argument(
            help="Method, such as GetCell; its service before it where two have it. Default: list.",
            autocompletion=completion.methods,
        ),
    ] = None,
    request: Annotated[
        str, typer.Argument(help="The request as JSON; - reads it from standard input.")
    ] = "{}",
    *,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Call a method with a request in JSON; its answer is JSON, too, a line for each of a stream.

    Example: cellplane call ListProjects '{"parent": "organizations/acme"}'
    """
    import sys

    from google.protobuf import json_format, message_factory

    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.exits import usage
    from cellplane.cli.kinds import methods

    if method is None:
        print("\n".join(methods()))
        return
    found = find(method)
    if found.client_streaming:
        raise usage(f"{found.full_name} takes a stream: only a program can call it")
    message = message_factory.GetMessageClass(found.input_type)()
    try:
        json_format.Parse(sys.stdin.read() if request == "-" else request, message)
    except json_format.ParseError as error:
        said = "; ".join(line.strip() for line in str(error).splitlines())
        raise usage(f"the request is no {found.input_type.name}: {said}") from None
    run(_call(profiles.load(profile, organization), found, message))


def find(name: str) -> MethodDescriptor:
    """The method with a name: its own, with its service, or full; as in code or as on the wire."""
    import difflib

    from cellplane.cli.exits import usage
    from cellplane.cli.kinds import methods

    known = methods()
    plain = name.strip("/").replace("/", ".")
    found = [full for full in known if full == plain or full.endswith(f".{plain}")]
    if len(found) == 1:
        return known[found[0]]
    if found:
        raise usage(f'there are {len(found)} methods "{name}": write {" or ".join(found)}')
    own = {full.rpartition(".")[2]: full for full in known}
    close = difflib.get_close_matches(plain.rpartition(".")[2], own, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "`cellplane call` lists them"
    raise usage(f'there is no method "{name}": {hint}')


async def _call(profile: Any, method: MethodDescriptor, message: Any) -> None:
    import json

    import grpc
    from google.protobuf.json_format import MessageToDict

    from cellplane.cli.engine import Client
    from cellplane.cli.exits import of_rpc
    from cellplane.cli.kinds import service_of

    service = service_of(method)
    async with Client(profile) as client:
        if not method.server_streaming:
            answer = await client.call(service, method, message)
            print(json.dumps(MessageToDict(answer), indent=2, ensure_ascii=False))
            return
        try:
            async for answer in await client.stream(service, method, message):
                print(json.dumps(MessageToDict(answer), ensure_ascii=False), flush=True)
        except grpc.RpcError as error:
            raise of_rpc(error, target=profile.address(service)) from None
