"""Two schemas compared: files without a server, names of kept ones by the service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cellplane.cli.exits import CHANGES, Ended, usage
from cellplane.cli.options import Format

if TYPE_CHECKING:
    from cellplane.model.catalog.schemas.finding import Finding, Reading
    from cellplane.model.domain.resources import SchemaFormat


def compare(
    old: str, new: str, organization: str | None, profile: Path | None
) -> tuple[Finding, ...]:
    """What a change means; each side is a file or a name."""
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.kinds import by_name

    if Path(old).is_file() and Path(new).is_file():
        return _offline(Path(old), Path(new))
    chosen = profiles.load(profile, organization)
    if Path(old).is_file():
        raise usage(f"{old} is a file, and {new} is none: name the kept schema first")
    kind = by_name("ApiSchema")
    fields: dict[str, Any] = {"base": kind.parse(old, chosen.organization)}
    if Path(new).is_file():
        from cellplane.api.model.v1 import component_pb2

        word = f"SCHEMA_FORMAT_{_format(Path(new)).value}"
        fields["inline"] = component_pb2.InlineSchema(
            format=component_pb2.SchemaFormat.Value(word), content=Path(new).read_bytes()
        )
    else:
        fields["api_schema"] = kind.parse(new, chosen.organization)
    return run(_online(chosen, fields))


def _offline(old: Path, new: Path) -> tuple[Finding, ...]:
    from cellplane.model.catalog import descriptors
    from cellplane.model.catalog.schemas import reading
    from cellplane.model.domain.resources import SchemaFormat

    own = _format(old)
    if _format(new) is not own:
        raise usage(f"{old} and {new} are of different formats: compare like with like")
    before, after = old.read_bytes(), new.read_bytes()
    is_protobuf = own is SchemaFormat.PROTOBUF
    for path, content in ((old, before), (new, after)):
        found = descriptors.read(content) if is_protobuf else reading.read(own, content)
        _require(path, found)
    if is_protobuf:
        return descriptors.differ(before, after)
    return reading.compare(own, before, after)


def _format(path: Path) -> SchemaFormat:
    from cellplane.cli.documents.schema_file import format_of
    from cellplane.model.domain.resources import SchemaFormat

    word = format_of(path.name, path.read_bytes())
    if not word:
        raise usage(
            f"{path} is no schema that is known: OpenAPI, AsyncAPI, protobuf, GraphQL, JSON Schema"
        )
    return SchemaFormat(word)


def _require(path: Path, found: Reading) -> None:
    if found.wrong:
        lines = [f"{path}: {wrong}" for wrong in found.wrong]
        raise Ended(message=f"{path} is not valid", findings=lines)


async def _online(profile: Any, fields: dict[str, Any]) -> tuple[Finding, ...]:
    from cellplane.cli.calls import call
    from cellplane.cli.engine import Client
    from cellplane.model.catalog.schemas.finding import Finding, Weight

    async with Client(profile) as client:
        answer = await call(client, "ApiSchemaService.CompareApiSchemas", **fields)
    return tuple(
        Finding(
            weight=Weight(f.Severity.Name(f.severity)),
            place=f.place,
            reason=f.reason,
            message=f.message,
        )
        for f in answer.findings
    )


def print_findings(found: tuple[Finding, ...], output: Format) -> None:
    """Say what changed; ends with 8 if anything breaks."""
    import json

    from cellplane.cli.render.document import dump
    from cellplane.cli.render.output import say, table
    from cellplane.model.catalog.schemas.finding import Weight

    rows = [
        {"severity": f.weight.value, "place": f.place, "reason": f.reason, "message": f.message}
        for f in found
    ]
    match output:
        case Format.JSON:
            print(json.dumps(rows, indent=2, ensure_ascii=False))
        case Format.YAML:
            print(dump(rows), end="")
        case Format.NAME:
            print("\n".join(f.reason for f in found))
        case _ if not rows:
            say("nothing changed that matters to users")
        case _:
            head = ("SEVERITY", "PLACE", "REASON", "WHY")
            for line in table(head, [tuple(row.values()) for row in rows]):
                print(line)
    raise typer.Exit(CHANGES if any(f.weight is Weight.BREAKING for f in found) else 0)
