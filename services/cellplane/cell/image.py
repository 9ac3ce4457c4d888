"""Where an image comes from, as container runtimes read its name."""

from __future__ import annotations

from typing import Final

DOCKER_HUB: Final = "docker.io"


def repository_of(image: str) -> str:
    """Registry and path of an image, without tag and digest; Docker Hub's is written out."""
    name = image.partition("@")[0]
    head, slash, rest = name.partition("/")
    if not slash or not ("." in head or ":" in head or head == "localhost"):
        head, rest = DOCKER_HUB, name if slash else f"library/{name}"
    return f"{head}/{rest.partition(':')[0]}"


def is_from(image: str, place: str) -> bool:
    """Tell whether an image is in a registry, or in a folder of one."""
    repository = repository_of(image)
    return repository == place or repository.startswith(f"{place}/")


def has_digest(image: str) -> bool:
    """Tell whether an image's name says its content."""
    return "@" in image
