"""Schemas and grants on the wire."""
# ruff: noqa: ARG002, N802 - the contract's names

from __future__ import annotations

from typing import Any, Final

from google.protobuf.empty_pb2 import Empty

from cellplane.api.model.v1 import (
    access_grant_pb2,
    access_grant_pb2_grpc,
    api_schema_pb2,
    api_schema_pb2_grpc,
)
from cellplane.cell.names import last_segment
from cellplane.cell.problem import Conflict, Invalid, NotFound, Problem
from cellplane.model.catalog.check import described
from cellplane.model.catalog.convert import schema_name
from cellplane.model.catalog.grants import Decision, Grants
from cellplane.model.catalog.library import Library
from cellplane.model.catalog.schemas.finding import Finding, Reading, Weight
from cellplane.model.domain.kinds import Kind
from cellplane.model.records import Record, Records
from cellplane.model.transactions import Transactions
from cellplane.model.writes import Writes, collection_of
from cellplane.resource.standard import etag_of, revision_of
from cellplane.store.database import Transaction

_GRANT = access_grant_pb2.AccessGrant
_SEVERITIES: Final = {w: api_schema_pb2.SchemaFinding.Severity.Value(w.value) for w in Weight}


class ApiSchemaService(api_schema_pb2_grpc.ApiSchemaServiceServicer):
    """See ``model/v1/api_schema.proto``."""

    def __init__(
        self, writes: Writes, transactions: Transactions, records: Records, library: Library
    ) -> None:
        self._methods = writes.reads(Kind.API_SCHEMA, api_schema_pb2.ApiSchema)
        self._transactions = transactions
        self._records = records
        self._library = library

    async def CreateApiSchema(
        self, request: api_schema_pb2.CreateApiSchemaRequest, context: Any
    ) -> api_schema_pb2.ApiSchema:
        """Keep a schema."""
        collection_of(Kind.API_SCHEMA).parse_parent(request.parent, across=False)
        given = request.api_schema
        reading = await self._library.read(given.format, given.content)
        _require_readable(reading, "api_schema.content")
        wanted = api_schema_pb2.ApiSchema()
        wanted.CopyFrom(given)
        wanted.name, wanted.digest = schema_name(request.parent, given.format, given.content)
        _require_id(request.api_schema_id, last_segment(wanted.name))

        async def work(tx: Transaction) -> api_schema_pb2.ApiSchema:
            if await self._records.get(tx, request.parent) is None:
                raise NotFound(
                    f"{request.parent} does not exist", metadata={"name": request.parent}
                )
            found = await self._records.get(tx, wanted.name)
            if found is None:
                message = await described(self._library, wanted)
                stored = await self._records.write(tx, message, None)
                found = Record(stored=stored, message=message)
            schema: api_schema_pb2.ApiSchema = found.message
            schema.etag = etag_of(found.stored.revision)
            return schema

        return await self._transactions.run(request, work, api_schema_pb2.ApiSchema)

    async def GetApiSchema(
        self, request: api_schema_pb2.GetApiSchemaRequest, context: Any
    ) -> api_schema_pb2.ApiSchema:
        """Read a schema."""
        return await self._methods.get(request)

    async def ListApiSchemas(
        self, request: api_schema_pb2.ListApiSchemasRequest, context: Any
    ) -> api_schema_pb2.ListApiSchemasResponse:
        """List them, by name, without what they say."""
        answer = await self._methods.list(request, api_schema_pb2.ListApiSchemasResponse())
        for schema in answer.api_schemas:
            schema.ClearField("content")
        return answer

    async def BatchGetApiSchemas(
        self, request: api_schema_pb2.BatchGetApiSchemasRequest, context: Any
    ) -> api_schema_pb2.BatchGetApiSchemasResponse:
        """Read several, without what they say."""
        answer = await self._methods.batch_get(request, api_schema_pb2.BatchGetApiSchemasResponse())
        for schema in answer.api_schemas:
            schema.ClearField("content")
        return answer

    async def CompareApiSchemas(
        self, request: api_schema_pb2.CompareApiSchemasRequest, context: Any
    ) -> api_schema_pb2.CompareApiSchemasResponse:
        """Say what a change of schema means."""
        names = {request.base, *([request.api_schema] if request.api_schema else ())}
        for name in sorted(names):
            collection_of(Kind.API_SCHEMA).parse(name)
        async with self._transactions.database.snapshot() as tx:
            found = await self._records.get_many(tx, names)
        for name in sorted(names):
            if name not in found:
                raise NotFound(f"{name} does not exist", metadata={"name": name})
        old = found[request.base].message
        if request.HasField("inline"):
            inline = request.inline
            _require_readable(
                await self._library.read(inline.format, inline.content), "inline.content"
            )
            digest = schema_name("", inline.format, inline.content)[1]
            new = api_schema_pb2.ApiSchema(
                format=inline.format, content=inline.content, digest=digest
            )
        else:
            new = found[request.api_schema].message
        if old.format != new.format:
            raise _invalid("base", "FORMAT_OTHER", "is of another format: compare like with like")
        return comparison(await self._library.compare(old, new))


class AccessGrantService(access_grant_pb2_grpc.AccessGrantServiceServicer):
    """See ``model/v1/access_grant.proto``."""

    def __init__(
        self, writes: Writes, transactions: Transactions, records: Records, grants: Grants
    ) -> None:
        self._methods = writes.reads(Kind.ACCESS_GRANT, access_grant_pb2.AccessGrant)
        self._transactions = transactions
        self._records = records
        self._grants = grants

    async def CreateAccessGrant(
        self, request: access_grant_pb2.CreateAccessGrantRequest, context: Any
    ) -> access_grant_pb2.AccessGrant:
        """Ask for a grant."""
        collection_of(Kind.ACCESS_GRANT).parse_parent(request.parent, across=False)

        async def work(tx: Transaction) -> access_grant_pb2.AccessGrant:
            return _answer(
                await self._grants.ask(
                    tx, request.parent, request.access_grant_id, request.access_grant
                )
            )

        return await self._transactions.run(request, work, access_grant_pb2.AccessGrant)

    async def GetAccessGrant(
        self, request: access_grant_pb2.GetAccessGrantRequest, context: Any
    ) -> access_grant_pb2.AccessGrant:
        """Read a grant."""
        return await self._methods.get(request)

    async def ListAccessGrants(
        self, request: access_grant_pb2.ListAccessGrantsRequest, context: Any
    ) -> access_grant_pb2.ListAccessGrantsResponse:
        """List them, by name."""
        return await self._methods.list(request, access_grant_pb2.ListAccessGrantsResponse())

    async def BatchGetAccessGrants(
        self, request: access_grant_pb2.BatchGetAccessGrantsRequest, context: Any
    ) -> access_grant_pb2.BatchGetAccessGrantsResponse:
        """Read several."""
        return await self._methods.batch_get(
            request, access_grant_pb2.BatchGetAccessGrantsResponse()
        )

    async def DeleteAccessGrant(
        self, request: access_grant_pb2.DeleteAccessGrantRequest, context: Any
    ) -> Empty:
        """Delete a grant."""
        collection_of(Kind.ACCESS_GRANT).parse(request.name)

        async def work(tx: Transaction) -> Empty:
            record = await self._records.get(tx, request.name)
            if record is None:
                if request.allow_missing:
                    return Empty()
                raise NotFound(f"{request.name} does not exist", metadata={"name": request.name})
            if revision_of(request.etag) not in (None, record.stored.revision):
                raise Conflict(
                    f"{request.name} has changed since it was read: read it again",
                    metadata={"name": request.name},
                )
            await self._grants.remove(tx, record)
            return Empty()

        return await self._transactions.run(request, work, Empty)

    async def ApproveAccessGrant(
        self, request: access_grant_pb2.ApproveAccessGrantRequest, context: Any
    ) -> access_grant_pb2.AccessGrant:
        """Put a grant in force."""
        end = request.expire_time if request.HasField("expire_time") else None
        decision = Decision(
            state=_GRANT.ACTIVE, comment=request.comment, etag=request.etag, expire_time=end
        )
        return await self._decide(request, decision)

    async def DenyAccessGrant(
        self, request: access_grant_pb2.DenyAccessGrantRequest, context: Any
    ) -> access_grant_pb2.AccessGrant:
        """Refuse a grant."""
        return await self._decide(
            request,
            Decision(state=_GRANT.DENIED, comment=request.comment, etag=request.etag),
        )

    async def RevokeAccessGrant(
        self, request: access_grant_pb2.RevokeAccessGrantRequest, context: Any
    ) -> access_grant_pb2.AccessGrant:
        """Take a grant back."""
        return await self._decide(
            request,
            Decision(state=_GRANT.REVOKED, comment=request.comment, etag=request.etag),
        )

    async def _decide(self, request: Any, decision: Decision) -> access_grant_pb2.AccessGrant:
        collection_of(Kind.ACCESS_GRANT).parse(request.name)

        async def work(tx: Transaction) -> access_grant_pb2.AccessGrant:
            return _answer(await self._grants.decide(tx, request.name, decision))

        return await self._transactions.run(request, work, access_grant_pb2.AccessGrant)


def comparison(findings: tuple[Finding, ...]) -> api_schema_pb2.CompareApiSchemasResponse:
    """Findings as they are answered."""
    return api_schema_pb2.CompareApiSchemasResponse(
        findings=[
            api_schema_pb2.SchemaFinding(
                severity=_SEVERITIES[f.weight], place=f.place, reason=f.reason, message=f.message
            )
            for f in findings
        ],
        breaking=any(f.weight is Weight.BREAKING for f in findings),
    )


def _answer(record: Record) -> access_grant_pb2.AccessGrant:
    grant: access_grant_pb2.AccessGrant = record.message
    grant.etag = etag_of(record.stored.revision)
    return grant


def _require_id(given: str, own: str) -> None:
    if given not in ("", own):
        problem = Problem(
            reason="SCHEMA_ID",
            message=f'"{given}" is not the id of this content: it is {own}; leave it out, or write '
            "that",
            field="api_schema_id",
            value=given,
        )
        raise Invalid(problem.message, problems=[problem], reason="REQUEST_INVALID")


def _require_readable(reading: Reading, field: str) -> None:
    if reading.wrong:
        problems = [
            Problem(reason="SCHEMA_INVALID", message=str(w), field=field) for w in reading.wrong
        ]
        raise Invalid(
            f"the schema is not valid: {problems[0].message}",
            problems=problems,
            reason="RESOURCE_INVALID",
        )


def _invalid(field: str, reason: str, message: str) -> Invalid:
    problem = Problem(reason=reason, message=message, field=field)
    return Invalid(f"{field} {message}", problems=[problem], reason="REQUEST_INVALID")
