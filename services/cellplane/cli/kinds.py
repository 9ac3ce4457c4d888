"""The kinds of resource, read from the contracts: one engine serves all of them.

A message with ``google.api.resource`` is a kind; the methods of its package that are named after it
are what can be done with it (AIP-131 to AIP-135). A kind that is added to the contracts is here
without another line.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Final

from google.api import resource_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor
from google.protobuf.message import Message

from cellplane.cell.names import is_id
from cellplane.cli.exits import usage

_ROOT: Final = "cellplane.api."
_SHORT: Final[Mapping[str, tuple[str, ...]]] = {
    "Organization": ("org", "orgs"),
    "Environment": ("env", "envs"),
    "DeploymentPipeline": ("pipeline", "pipelines"),
    "Project": ("proj",),
    "SecretReference": ("secret", "secrets"),
    "Component": ("comp",),
    "Deployment": ("deploy",),
    "Promotion": ("promo",),
    "Release": ("rel",),
    "DataPlane": ("dp", "plane", "planes"),
    "JoinGrant": ("grant", "grants"),
    "CatalogEntry": ("entry", "entries"),
    "ApiSchema": ("schema", "schemas"),
    "CellRevision": ("revision", "revisions"),
    "CellHealth": ("health",),
    "Event": ("ev",),
    "Operation": ("op", "ops"),
    "ResourceChange": ("change", "changes"),
    "DeploymentChange": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of resource."""

    name: str
    """Of its message, such as ``Component``."""
    type_name: str
    """As references write it: ``cellplane.dev/Component``."""
    singular: str
    plural: str
    pattern: tuple[str, ...]
    """Segments of its name; ids are empty."""
    others: tuple[tuple[str, ...], ...] = ()
    """Other patterns of its name, where there are several."""
    service: str
    """The process that keeps it, such as ``model``."""
    descriptor: Descriptor
    methods: Mapping[str, MethodDescriptor] = field(default_factory=dict)
    """What can be done with it: ``Get``, ``List``, ``Create``, ``Update``, ``Delete``."""

    @property
    def message(self) -> type[Message]:
        """Class of its messages."""
        return message_factory.GetMessageClass(self.descriptor)

    @property
    def form(self) -> str:
        """How its names are written."""
        return "/".join(segment or "*" for segment in self.pattern)

    @property
    def ways(self) -> str:
        """How its names can be written, for people."""
        words = self._id_words()
        short = "/".join(f"<{word}>" for word in words[min(1, len(words) - 1) :])
        return f"write {short}, or in full {self.form}"

    @property
    def below(self) -> str:
        """What its lists are below, for people."""
        words = self._id_words()[1:-1]
        return f"{self.plural} of {'/'.join(f'<{word}>' for word in words)}"

    @property
    def applicable(self) -> bool:
        """Whether documents can say what it is like."""
        return "Update" in self.methods

    @property
    def field(self) -> str:
        """Its field in requests, such as ``data_plane``."""
        return re.sub(r"(?<!^)([A-Z])", r"_\1", self.name).lower()

    def ids(self, name: str) -> tuple[str, ...] | None:
        """The ids in a full name; ``None`` if it is not of this kind."""
        for pattern in (self.pattern, *self.others):
            parts = name.split("/")
            if len(parts) != len(pattern):
                continue
            pairs = list(zip(parts, pattern, strict=True))
            if any(fixed and part != fixed for part, fixed in pairs):
                continue
            found = tuple(part for part, fixed in pairs if not fixed)
            return found if all(is_id(part) or part.isdigit() for part in found) else None
        return None

    def fill(self, ids: tuple[str, ...]) -> str:
        """Make a full name of all its ids."""
        left = iter(ids)
        return "/".join(segment or next(left) for segment in self.pattern)

    def expand(self, text: str, organization: str) -> str:
        """Make a full name of what people write: full, relative to the organization, or ids only.

        What fits none of them is answered unchanged.
        """
        parts = text.strip("/").split("/")
        count = self.pattern.count("")
        if len(parts) > 1 and self._has(parts[0]):
            return self.absolute("/".join(parts), organization)
        if len(parts) == count - 1 and count > 1:
            return self.fill((organization, *parts))
        if len(parts) == count:
            return self.fill(tuple(parts))
        return text

    def absolute(self, text: str, organization: str) -> str:
        """Make a full name of one that is full or relative to the organization."""
        first = text.split("/", 1)[0]
        if first != "organizations" and self._has(first) and "/" in text:
            return f"organizations/{organization}/{text}"
        return text

    def parse(self, text: str, organization: str) -> str:
        """Read a name that a user gave; ends the command where it cannot be one."""
        name = self.expand(text, organization)
        if self.ids(name) is None:
            raise usage(f'"{text}" is not the name of {an(self.singular)}: {self.ways}')
        return name

    def short(self, name: str) -> str:
        """The ids alone, without the organization: what people read."""
        ids = self.ids(name)
        if ids is None:
            return name
        if name.count("/") + 1 != len(self.pattern):
            # Ids alone would not say which of its forms it has.
            return name.split("/", 2)[2]
        return "/".join(ids[1:] if len(ids) > 1 else ids)

    def parent(self, organization: str, within: tuple[str, ...] = ()) -> str:
        """The parent to list below: *within* gives ids, all others are ``-``; empty for none."""
        segments = self.pattern[:-2] if self.pattern[-1] == "" else self.pattern[:-1]
        count = segments.count("")
        ids = (organization, *within)[:count]
        left = iter((*ids, *("-" for _ in range(count - len(ids)))))
        return "/".join(segment or next(left) for segment in segments)

    def _has(self, collection: str) -> bool:
        return any(collection in pattern for pattern in (self.pattern, *self.others))

    def _id_words(self) -> list[str]:
        """What each id stands for: the collection before it, in the singular."""
        return [
            _singular(self.pattern[index - 1])
            for index, segment in enumerate(self.pattern)
            if not segment
        ]


def an(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _singular(collection: str) -> str:
    return collection.removesuffix("s")


@functools.cache
def all_kinds() -> tuple[Kind, ...]:
    """Every kind of the contracts, by name."""
    found: list[Kind] = []
    methods = dict(_methods())
    for file in _files():
        for descriptor in file.message_types_by_name.values():
            option = descriptor.GetOptions().Extensions[resource_pb2.resource]
            if not option.type:
                continue
            name = option.type.rsplit("/", 1)[-1]
            verbs = {
                verb: methods[target]
                for verb, word in _verbs(name, option.plural)
                if (target := f"{file.package}/{word}") in methods
            }
            found.append(
                Kind(
                    name=name,
                    type_name=option.type,
                    singular=option.singular,
                    plural=option.plural,
                    pattern=_segments(option.pattern[0]),
                    others=tuple(map(_segments, option.pattern[1:])),
                    service=file.package.removeprefix(_ROOT).split(".")[0],
                    descriptor=descriptor,
                    methods=verbs,
                )
            )
    return tuple(sorted(found, key=lambda kind: kind.name))


def _segments(pattern: str) -> tuple[str, ...]:
    return tuple("" if part.startswith("{") else part for part in pattern.split("/"))


def _verbs(name: str, plural: str) -> Iterator[tuple[str, str]]:
    for verb in ("Get", "Create", "Update", "Delete"):
        yield verb, f"{verb}{name}"
    yield "List", f"List{plural[:1].upper()}{plural[1:]}"


def _methods() -> Iterator[tuple[str, MethodDescriptor]]:
    for file in _files():
        for service in file.services_by_name.values():
            for method in service.methods:
                yield f"{file.package}/{method.name}", method


@functools.cache
def _files() -> tuple[FileDescriptor, ...]:
    data = resources.files("cellplane.api").joinpath("descriptor.binpb").read_bytes()
    files = descriptor_pb2.FileDescriptorSet.FromString(data).file
    pool = descriptor_pool.Default()
    found = []
    for file in files:
        if file.package.startswith(_ROOT) and not file.package.startswith(f"{_ROOT}agent."):
            importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
            found.append(pool.FindFileByName(file.name))
    return tuple(found)


def methods() -> dict[str, MethodDescriptor]:
    """Every method that people can call, by its full name."""
    return {
        found.full_name: found
        for file in _files()
        for service in file.services_by_name.values()
        for found in service.methods
    }


def service_of(method: MethodDescriptor) -> str:
    """The process that has a method, such as ``model``."""
    package = str(method.containing_service.file.package)
    return package.removeprefix(_ROOT).split(".")[0]


def method(full_name: str) -> MethodDescriptor:
    """A method by its full name: package, service and method."""
    _files()
    service, _, own = full_name.rpartition(".")
    found: MethodDescriptor = (
        descriptor_pool.Default().FindServiceByName(service).methods_by_name[own]
    )
    return found


def by_type(type_name: str) -> Kind:
    """The kind that a reference names: ``cellplane.dev/Component``."""
    return next(kind for kind in all_kinds() if kind.type_name == type_name)


def by_name(name: str) -> Kind:
    """The kind with a message's name."""
    return next(kind for kind in all_kinds() if kind.name == name)


def of_noun(noun: str) -> Kind:
    """The kind that a user means: its name, singular, plural or short name, in any case."""
    plain = _plain(noun)
    for kind in all_kinds():
        if plain in _nouns(kind):
            return kind
    known = sorted(word for kind in all_kinds() for word in (kind.singular, kind.plural))
    close = difflib.get_close_matches(noun, known, n=1, cutoff=0.5)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    raise usage(
        f'there is no kind "{noun}": {hint}kinds are {", ".join(k.plural for k in all_kinds())}'
    )


def split(noun: str, name: str | None) -> tuple[str, str | None]:
    """Kind and name of ``component boutique/cart``, and of ``component/boutique/cart``."""
    if name is None and "/" in noun:
        noun, _, name = noun.partition("/")
    return noun, name


def one_of(noun: str, name: str | None) -> tuple[Kind, str]:
    """Kind and name of one resource, however they are written."""
    noun, name = split(noun, name)
    kind = of_noun(noun)
    if not name:
        raise usage(f"which {kind.singular}? give its name: {kind.ways}")
    return kind, name


def _nouns(kind: Kind) -> frozenset[str]:
    return frozenset(map(_plain, (kind.name, kind.singular, kind.plural, *short_names(kind))))


def short_names(kind: Kind) -> tuple[str, ...]:
    """Other words for a kind: those that it is given, or its last word where that is its alone."""
    given = _SHORT.get(kind.name)
    if given is not None:
        return given
    last, many = _last_word(kind.singular), _last_word(kind.plural)
    taken = {word for other in all_kinds() if other is not kind for word in _words(other)}
    return () if {last, many} & (taken | {kind.singular}) else (last, many)


def _words(kind: Kind) -> tuple[str, ...]:
    own = _SHORT.get(kind.name, (_last_word(kind.singular), _last_word(kind.plural)))
    return (kind.singular, kind.plural, *own)


def _last_word(noun: str) -> str:
    return re.split(r"(?=[A-Z])", noun)[-1].lower()


def _plain(noun: str) -> str:
    return noun.replace("-", "").replace("_", "").lower()
