"""Reads and compares schemas beside the event loop, each content once.

Whoever takes a request with schemas has them read before its transaction begins: what takes time
keeps no other writer waiting.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final, TypeVar

from cellplane.api.model.v1 import api_schema_pb2, component_pb2
from cellplane.model.catalog import descriptors
from cellplane.model.catalog.convert import schema_name
from cellplane.model.catalog.schemas import reading
from cellplane.model.catalog.schemas.finding import Finding, Reading
from cellplane.model.domain.resources import SchemaFormat

_KEPT: Final = 512
T = TypeVar("T")


class Library:
    """Keeps what was said of the last schemas; contents never change, so nothing grows old."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        # A schema can take a second of one processor: one at a time is enough.
        self._reading = asyncio.Semaphore(1)

    async def prepare(self, schemas: Iterable[component_pb2.InlineSchema]) -> None:
        """Read schemas, so that ``read`` answers at once."""
        for schema in schemas:
            await self.read(schema.format, schema.content)

    async def read(self, format: int, content: bytes) -> Reading:
        """What a schema says of itself, or why it cannot be read."""
        own = format_of(format)
        if own is None:
            return Reading()
        key = schema_name("", format, content)[1]

        def work() -> Reading:
            if len(content) > reading.MAX_BYTES:
                return reading.too_big(len(content))
            if own is SchemaFormat.PROTOBUF:
                return descriptors.read(content)
            return reading.read(own, content)

        return await self._once(key, work)

    async def compare(
        self, old: api_schema_pb2.ApiSchema, new: api_schema_pb2.ApiSchema
    ) -> tuple[Finding, ...]:
        """What a change means; both were read and found good, and are of one format."""
        own = format_of(old.format)
        if own is None or old.content == new.content:
            return ()

        def work() -> tuple[Finding, ...]:
            if own is SchemaFormat.PROTOBUF:
                return descriptors.differ(old.content, new.content)
            return reading.compare(own, old.content, new.content)

        return await self._once((old.digest, new.digest), work)

    async def _once(self, key: Hashable, work: Callable[[], T]) -> T:
        if key in self._kept:
            self._kept.move_to_end(key)
            found: T = self._kept[key]
            return found
        async with self._reading:
            answer = await asyncio.to_thread(work)
        self._kept[key] = answer
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return answer


def format_of(wire: int) -> SchemaFormat | None:
    """The format that a number of the contract stands for."""
    if wire not in component_pb2.SchemaFormat.values():
        return None
    word = component_pb2.SchemaFormat.Name(wire).removeprefix("SCHEMA_FORMAT_")  # type: ignore[arg-type]
    return SchemaFormat.__members__.get(word)
