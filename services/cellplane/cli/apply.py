"""``apply`` and ``diff``: documents to the services, all of them or none.

What the model keeps goes in one call, so that it holds as a whole; what placement keeps goes after,
when all of it was checked. ``diff`` asks the same question with ``validate_only``, so what it
shows is what ``apply`` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellplane.cli.exits import CHANGES
from cellplane.cli.options import Files, Format, Organization, Output, Profile

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from cellplane.cli.documents.load import Document
    from cellplane.cli.engine import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one document, or would."""

    document: Document
    word: str
    before: Message | None
    after: Message


def apply(
    *,
    filename: Files = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything on the server, and store nothing.")
    ] = False,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Make resources as documents say: all of them, or none.

    Example: cellplane apply -f samples/boutique
    """
    from cellplane.cli.engine import run

    outcomes = run(_outcomes(filename, organization, profile, validate_only=dry_run))
    _print(outcomes, output, " (dry run)" if dry_run else "")


def diff(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Two releases, project/component/release; or a project."),
    ] = None,
    *,
    filename: Files = None,
    source: Annotated[
        str, typer.Option("--from", help="With a project: what this environment has…")
    ] = "",
    target: Annotated[str, typer.Option("--to", help="…that this one does not.")] = "",
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Show what `apply` would change, or what differs between releases or between environments.

    Exit code 8 if anything.

    Example: cellplane diff -f samples/boutique

    Example: cellplane diff boutique --from development --to staging
    """
    import sys

    if names or source or target:
        _compare(names or [], source, target, organization, profile)

    from cellplane.cli import opens
    from cellplane.cli.engine import run
    from cellplane.cli.render.document import document
    from cellplane.cli.render.output import colours, difference, say

    outcomes = run(_outcomes(filename, organization, profile, validate_only=True))
    changed = [outcome for outcome in outcomes if outcome.word != "unchanged"]
    colour = colours(sys.stdout)
    for outcome in changed:
        kind = outcome.document.kind
        before = document(kind, outcome.before) if outcome.before is not None else ""
        after = document(kind, outcome.after)
        for line in difference(before, after, outcome.document.name, colour=colour):
            print(line)
    for line in opens.lines(run(_opens(outcomes, organization, profile))):
        print(line)
    say(f"{len(changed)} of {len(outcomes)} would change")
    raise typer.Exit(CHANGES if changed else 0)


def _compare(
    names: list[str], source: str, target: str, organization: str | None, profile: Any
) -> None:
    """Releases, or environments; ends with the exit code."""
    from cellplane.cli import compare
    from cellplane.cli import profile as profiles
    from cellplane.cli.exits import usage
    from cellplane.cli.render.output import say

    chosen = profiles.load(profile, organization)
    if source and target and len(names) == 1:
        lines, count = compare.environments(chosen, names[0], source, target)
    elif len(names) == 2 and not (source or target):
        lines, count = compare.releases(chosen, *names)
    else:
        raise usage("name two releases, or a project with --from and --to, or documents with -f")
    for line in lines:
        print(line)
    if not count:
        say("nothing differs")
    raise typer.Exit(CHANGES if count else 0)


async def _opens(outcomes: list[Outcome], organization: str | None, profile: Any) -> Any:
    from cellplane.cli import opens
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import Client

    async with Client(profiles.load(profile, organization)) as client:
        return await opens.opens(client, list(outcomes))


async def _outcomes(
    filenames: list[str] | None, organization: str | None, profile: Any, *, validate_only: bool
) -> list[Outcome]:
    from cellplane.cli import profile as profiles
    from cellplane.cli.documents.load import load
    from cellplane.cli.engine import Client
    from cellplane.cli.render.output import say

    # Documents before any call: what is wrong with them is wrong without a service.
    chosen = profiles.load(profile, organization)
    warnings: list[Any] = []
    documents = load(filenames or [], chosen.organization, warnings)
    if warnings:
        say(f"warning: {len(warnings)} fields that only the server sets are left out, such as")
        say(f"  {warnings[0].place}: {warnings[0].field}")
    async with Client(chosen) as client:
        of_model = [d for d in documents if d.kind.service == "model"]
        others = [d for d in documents if d.kind.service != "model"]
        checked = [await _put(client, d, validate_only=True) for d in others]
        outcomes = await _apply(client, of_model, validate_only=validate_only)
        if not validate_only:
            checked = [await _put(client, d, validate_only=False) for d in others]
    by_name = {outcome.document.name: outcome for outcome in (*outcomes, *checked)}
    return [by_name[document.name] for document in documents]


async def _apply(
    client: Client, documents: list[Document], *, validate_only: bool
) -> list[Outcome]:
    """All of them in one call."""
    if not documents:
        return []
    from google.protobuf import message_factory

    from cellplane.cli.kinds import method
    from cellplane.cli.render.output import say

    target = method("cellplane.api.model.v1.ResourceService.ApplyResources")
    request: Any = message_factory.GetMessageClass(target.input_type)(validate_only=validate_only)
    for document in documents:
        request.resources.add().Pack(document.resource)
    places = _places(documents)
    answer = await client.call("model", target, request, places=places)
    for warning in (w for result in answer.resources for w in result.warnings):
        say(f"warning: {places(warning)}")
    return [
        Outcome(
            document=document,
            word=_word(result),
            before=_unpack(document, result.previous) if result.HasField("previous") else None,
            after=_unpack(document, result.resource),
        )
        for document, result in zip(documents, answer.resources, strict=True)
    ]


def _word(result: Any) -> str:
    return str(result.Outcome.Name(result.outcome)).lower()


def _unpack(document: Document, box: Any) -> Message:
    resource: Message = document.kind.message()
    box.Unpack(resource)
    return resource


async def _put(client: Client, document: Document, *, validate_only: bool) -> Outcome:
    """One that placement keeps."""
    from cellplane.cli.render.document import plain

    kind = document.kind
    before = await client.find(kind, document.name)
    after = await client.put(
        kind,
        document.resource,
        validate_only=validate_only,
        places=_places([document], root=kind.field),
    )
    word = "created"
    if before is not None:
        same = plain(before, written_only=True) == plain(after, written_only=True)
        word = "unchanged" if same else "updated"
    return Outcome(document=document, word=word, before=before, after=after)


def _places(documents: list[Document], root: str = "") -> Any:
    """Say where in the documents a finding of the server belongs."""
    import re

    index = re.compile(r"resources\[([0-9]+)\]\.?")

    def say(problem: Any) -> str:
        path, document = problem.field, None
        found = index.match(path)
        if found is not None and int(found[1]) < len(documents):
            document, path = documents[int(found[1])], path[found.end() :]
        elif problem.resource:
            document = next((d for d in documents if d.name == problem.resource), None)
        elif root:
            document, path = documents[0], path.removeprefix(f"{root}.")
        if document is None:
            return f"{path}: {problem.message}" if path else str(problem.message)
        place = document.places.of(path)
        return f"{place}: {path}: {problem.message}" if path else f"{place}: {problem.message}"

    return say


def _print(outcomes: list[Outcome], output: Format, note: str) -> None:
    from cellplane.cli.render.output import say

    match output:
        case Format.NAME:
            for outcome in outcomes:
                print(outcome.document.name)
        case Format.JSON:
            import json

            rows = [
                {"name": o.document.name, "outcome": o.word, **_secrets(o.after)} for o in outcomes
            ]
            print(json.dumps(rows, indent=2))
        case Format.YAML:
            from cellplane.cli.render.document import document

            print("---\n".join(document(o.document.kind, o.after) for o in outcomes), end="")
        case _:
            for outcome in outcomes:
                kind = outcome.document.kind
                label = f"{kind.singular} {kind.short(outcome.document.name)}"
                print(f"{label} {outcome.word}{note}")
                for field, text in _secrets(outcome.after).items():
                    say(f"{label}: {field} (shown this once): {text}")


def _secrets(resource: Message) -> dict[str, str]:
    """What is told once, to whoever makes a resource."""
    return {
        field.name: str(value)
        for field, value in resource.ListFields()
        if field.GetOptions().debug_redact
    }
