"""What can be wrong with a preview in itself, and how its environment is called.

A preview is a whole environment: its project, and whoever that calls, directly or not, as they are
deployed in the template's environment. So it is closed as every other one, and nothing of it
reaches into an environment that others use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cellplane.cell.names import kube_name, last_segment
from cellplane.cell.problem import Findings
from cellplane.model.domain.kinds import Kind, check_reference, organization_of, project_of
from cellplane.model.domain.validate_component import IMAGE

DEFAULT_TTL: Final = timedelta(days=1)
MAX_TTL: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A component that a preview has otherwise."""

    component: str
    image: str = ""
    release: str = ""


def environment_id(preview: str) -> str:
    """Id of a preview's environment: it names the preview, and no other has it."""
    return kube_name("preview", last_segment(project_of(preview)), last_segment(preview))


def lifetime(
    asked: timedelta | None, default: timedelta | None, most: timedelta | None, at: Findings
) -> timedelta:
    """How long a preview lives; a finding where that is longer than it may be."""
    bound = most or MAX_TTL
    chosen = asked or min(default or DEFAULT_TTL, bound)
    if chosen > bound:
        at.add(
            "TTL_TOO_LONG",
            f"{_text(chosen)} is longer than previews of its template may live, which is "
            f"{_text(bound)} from their creation on: ask for less, or create another one later",
            value=_text(chosen),
        )
    return chosen


def check_components(
    preview: str, wanted: Iterable[Wanted], deployed: Mapping[str, str], at: Findings
) -> None:
    """Find everything that is wrong with the components of a preview.

    Args:
        preview: Its name.
        wanted: What it has otherwise.
        deployed: Releases in the template's environment, by the components' names.
        at: The place of the list.
    """
    project = project_of(preview)
    seen: set[str] = set()
    for index, one in enumerate(wanted):
        here = at.at(index)
        where = here.at("component")
        if not check_reference(Kind.COMPONENT, one.component, organization_of(preview), where):
            continue
        if project_of(one.component) != project:
            where.add(
                "OTHER_PROJECT",
                f'component "{one.component}" is not of project "{project}": a preview changes '
                "its own project alone",
                value=one.component,
            )
        elif one.component in seen:
            where.add(
                "NAME_DUPLICATE", f'"{one.component}" is there twice: keep one', value=one.component
            )
        elif not one.release and one.component not in deployed:
            where.add(
                "NOT_DEPLOYED",
                f'component "{one.component}" is not deployed in the template\'s environment: '
                "deploy it there first, or name a release",
                value=one.component,
            )
        seen.add(one.component)
        if one.release and not one.release.startswith(f"{one.component}/releases/"):
            here.at("release").add(
                "OTHER_COMPONENT",
                f'release "{one.release}" is not of component "{one.component}"',
                value=one.release,
            )
        if one.image and not IMAGE.fullmatch(one.image):
            here.at("image").add(
                "VALUE_INVALID",
                f'"{one.image}" is not the name of an image: write registry/folder/name:tag',
                value=one.image,
            )


def _text(duration: timedelta) -> str:
    hours, rest = divmod(int(duration.total_seconds()), 3600)
    return f"{hours}h" if not rest else f"{int(duration.total_seconds())}s"
