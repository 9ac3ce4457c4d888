"""Puts the model together on a server: every servicer of ``model.v1``, on one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from google.longrunning import operations_pb2_grpc
from prometheus_client import CollectorRegistry

from cellplane.api.model.v1 import (
    access_grant_pb2_grpc,
    api_schema_pb2_grpc,
    catalog_pb2_grpc,
    cell_pb2_grpc,
    component_pb2_grpc,
    component_type_pb2_grpc,
    component_type_version_pb2_grpc,
    deletion_pb2_grpc,
    deployment_change_pb2_grpc,
    deployment_pb2_grpc,
    deployment_pipeline_pb2_grpc,
    environment_pb2_grpc,
    event_subscription_pb2_grpc,
    operation_pb2_grpc,
    organization_pb2_grpc,
    platform_rules_pb2_grpc,
    preview_pb2_grpc,
    project_pb2_grpc,
    promotion_pb2_grpc,
    release_pb2_grpc,
    resource_change_pb2_grpc,
    resource_claim_pb2_grpc,
    resource_pb2_grpc,
    resource_type_pb2_grpc,
    secret_reference_pb2_grpc,
    trait_pb2_grpc,
    trait_version_pb2_grpc,
    type_impact_pb2_grpc,
    workload_pb2_grpc,
)
from cellplane.api.type.v1 import compile_pb2
from cellplane.model.apply import Applier
from cellplane.model.catalog.check import SchemaChecker
from cellplane.model.catalog.effects import Catalog
from cellplane.model.catalog.grants import GrantRows, Grants, end_in_time
from cellplane.model.catalog.index import Index
from cellplane.model.catalog.library import Library
from cellplane.model.catalog.register import Register
from cellplane.model.catalog.service import CatalogService
from cellplane.model.catalog.service_schemas import AccessGrantService, ApiSchemaService
from cellplane.model.cell_feed import CellFeed
from cellplane.model.check import Checker
from cellplane.model.closing import Closer
from cellplane.model.compliance import Compliance
from cellplane.model.convert import KINDS, Codecs
from cellplane.model.delete import Deleter
from cellplane.model.delivery.deliverer import PATIENCE, Deliverer, Network, Patience
from cellplane.model.delivery.outbox import Outbox
from cellplane.model.domain.kinds import COLLECTIONS
from cellplane.model.effects import Effects
from cellplane.model.metrics import ResolutionMetrics
from cellplane.model.operations import Operations
from cellplane.model.previews import Previews, end_previews
from cellplane.model.promotions.facts import Facts
from cellplane.model.promotions.history import History as DeploymentHistory
from cellplane.model.promotions.lifecycle import Promotions
from cellplane.model.promotions.plan import Planner
from cellplane.model.promotions.service import DeploymentChangeService, PromotionService
from cellplane.model.promotions.step import Steps
from cellplane.model.promotions.worker import Worker
from cellplane.model.quotas import Quotas
from cellplane.model.records import Records
from cellplane.model.repository import Repository
from cellplane.model.resolution import Resolver
from cellplane.model.service_cells import CellService
from cellplane.model.service_claims import ResourceClaimService, ResourceTypeService
from cellplane.model.service_events import EventSubscriptionService
from cellplane.model.service_operations import DeletionService, LongRunning, OperationService
from cellplane.model.service_previews import PreviewService
from cellplane.model.service_resources import ResourceService
from cellplane.model.service_rules import PlatformRuleService
from cellplane.model.service_standard import (
    ComponentService,
    DeploymentPipelineService,
    DeploymentService,
    EnvironmentService,
    OrganizationService,
    ProjectService,
    ReleaseService,
    SecretReferenceService,
)
from cellplane.model.service_type_impact import TypeImpactService
from cellplane.model.service_types import (
    ComponentTypeService,
    ComponentTypeVersionService,
    TraitService,
    TraitVersionService,
)
from cellplane.model.transactions import Transactions
from cellplane.model.types import Types
from cellplane.model.whole import Whole
from cellplane.model.workload.compile import compile as compile_workloads
from cellplane.model.writes import Writes
from cellplane.resource.service_changes import Kinds, ResourceChangeService
from cellplane.rpc.compile import CompileAdapter
from cellplane.rpc.pagination import PageTokens
from cellplane.rpc.server import Server
from cellplane.runtime.clock import Clock
from cellplane.runtime.tasks import Loop
from cellplane.store.database import Database
from cellplane.store.feed import KEEP, KEEP_TIME, Feed
from cellplane.store.history import History
from cellplane.store.resources import Resources, ResourceTables

_PACKAGE = "cellplane.api.model.v1."
_HISTORY = Kinds(messages=KINDS, collections=frozenset(COLLECTIONS.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """How changes of resources are kept, and told to others."""

    keep: int = KEEP
    keep_time: timedelta = KEEP_TIME
    networks: tuple[Network, ...] = ()
    """Where events may be delivered, beside the internet."""
    patience: Patience = PATIENCE


_DEFAULT = Changes()


class WorkloadService(workload_pb2_grpc.WorkloadServiceServicer):
    """Compiles the workloads of Cells."""

    def __init__(self) -> None:
        self._compile = CompileAdapter(compile_workloads)

    async def Compile(  # noqa: N802 - the contract's name
        self, request: compile_pb2.CompileRequest, context: Any
    ) -> compile_pb2.CompileResponse:
        """See ``model/v1/workload.proto``."""
        del context
        return self._compile.answer(request)


@asynccontextmanager
async def serve_model(
    server: Server,
    database: Database,
    *,
    clock: Clock,
    key: bytes,
    zones: Collection[str],
    changes: Changes = _DEFAULT,
    metrics: ResolutionMetrics | None = None,
) -> AsyncIterator[None]:
    """Register every servicer of the model; its feed runs while this is entered.

    Args:
        server: Where to register.
        database: The model's own, open.
        clock: Where times come from.
        key: Signs page tokens.
        zones: IANA time zones that schedules may name.
        changes: How changes are kept and told.
        metrics: Counts what is resolved; without, nobody is told.
    """
    resources = Resources(ResourceTables(sa.MetaData()))
    repository = Repository()
    records = Records(resources, clock)
    codecs = Codecs()
    operations = Operations(resources, records, repository)
    cell_feed = CellFeed(database, repository, operations.waited_for)
    compliance = Compliance(codecs, repository)
    whole = Whole(codecs, repository, records, compliance, cell_feed.ring)
    resolver = Resolver(
        codecs, repository, whole, compliance, metrics or ResolutionMetrics(CollectorRegistry())
    )
    library, index, rows = Library(), Index(database.dialect), GrantRows()
    register = Register(codecs, records, index)
    catalog = Catalog(records, register, library, rows)
    closer = Closer(codecs, repository, whole)
    grants = Grants(codecs, records, resolver, closer, rows)
    deployment_history = DeploymentHistory(clock)
    effects = Effects(codecs, repository, records, resolver, catalog, deployment_history)
    checker = Checker(
        codecs,
        repository,
        zones,
        quotas=Quotas(resources),
        schemas=SchemaChecker(library),
    )
    transactions = Transactions(database=database, resources=resources, clock=clock)
    tokens = PageTokens(key)
    previews = Previews(codecs, repository, records, resources, checker, effects)
    deleter = Deleter(codecs, repository, records, effects, previews)
    types = Types(codecs, records, repository)
    writes = Writes(
        transactions=transactions,
        tokens=tokens,
        codecs=codecs,
        records=records,
        checker=checker,
        effects=effects,
        deleter=deleter,
        library=library,
        types=types,
    )
    steps = Steps(codecs, repository, records, checker, effects)
    facts = Facts(codecs, repository, records, steps)
    promotions = Promotions(codecs, repository, records, steps, facts, deployment_history)
    applier = Applier(codecs, records, checker, effects, types)
    outbox = Outbox()
    deliverer = Deliverer(
        database=database,
        resources=resources,
        outbox=outbox,
        clock=clock,
        networks=changes.networks,
        patience=changes.patience,
    )
    feed = Feed(database, resources, keep=changes.keep, keep_time=changes.keep_time)
    promoting = Worker(
        database=database, resources=resources, feed=feed, clock=clock, promotions=promotions
    )
    async with database.transaction() as tx:
        await register.rebuild(tx)
    ending = Loop(name="grants", body=lambda: end_in_time(grants, transactions))
    # Another replica's commits ring here, too.
    async with (
        feed,
        database.listen(cell_feed.ring),
        _running(Loop(name="events", body=deliverer.run, clock=clock)),
        _running(ending),
        _running(Loop(name="promotions", body=promoting.run, clock=clock)),
        _running(Loop(name="previews", body=lambda: end_previews(previews, database), clock=clock)),
    ):
        for name, add, servicer in (
            (
                "OrganizationService",
                organization_pb2_grpc.add_OrganizationServiceServicer_to_server,
                OrganizationService(writes),
            ),
            (
                "EnvironmentService",
                environment_pb2_grpc.add_EnvironmentServiceServicer_to_server,
                EnvironmentService(writes),
            ),
            (
                "DeploymentPipelineService",
                deployment_pipeline_pb2_grpc.add_DeploymentPipelineServiceServicer_to_server,
                DeploymentPipelineService(writes),
            ),
            (
                "ProjectService",
                project_pb2_grpc.add_ProjectServiceServicer_to_server,
                ProjectService(writes),
            ),
            (
                "SecretReferenceService",
                secret_reference_pb2_grpc.add_SecretReferenceServiceServicer_to_server,
                SecretReferenceService(writes),
            ),
            (
                "ComponentTypeService",
                component_type_pb2_grpc.add_ComponentTypeServiceServicer_to_server,
                ComponentTypeService(writes),
            ),
            (
                "ComponentTypeVersionService",
                component_type_version_pb2_grpc.add_ComponentTypeVersionServiceServicer_to_server,
                ComponentTypeVersionService(writes),
            ),
            (
                "TraitService",
                trait_pb2_grpc.add_TraitServiceServicer_to_server,
                TraitService(writes),
            ),
            (
                "TraitVersionService",
                trait_version_pb2_grpc.add_TraitVersionServiceServicer_to_server,
                TraitVersionService(writes),
            ),
            (
                "TypeImpactService",
                type_impact_pb2_grpc.add_TypeImpactServiceServicer_to_server,
                TypeImpactService(database, records, repository, codecs),
            ),
            (
                "ComponentService",
                component_pb2_grpc.add_ComponentServiceServicer_to_server,
                ComponentService(writes),
            ),
            (
                "ReleaseService",
                release_pb2_grpc.add_ReleaseServiceServicer_to_server,
                ReleaseService(writes),
            ),
            (
                "DeploymentService",
                deployment_pb2_grpc.add_DeploymentServiceServicer_to_server,
                DeploymentService(writes),
            ),
            (
                "PromotionService",
                promotion_pb2_grpc.add_PromotionServiceServicer_to_server,
                PromotionService(
                    writes, promotions, transactions, Planner(promotions, repository, records)
                ),
            ),
            (
                "DeploymentChangeService",
                deployment_change_pb2_grpc.add_DeploymentChangeServiceServicer_to_server,
                DeploymentChangeService(database, deployment_history, tokens),
            ),
            (
                "ResourceService",
                resource_pb2_grpc.add_ResourceServiceServicer_to_server,
                ResourceService(transactions, applier, feed, repository, codecs, library, outbox),
            ),
            (
                "EventSubscriptionService",
                event_subscription_pb2_grpc.add_EventSubscriptionServiceServicer_to_server,
                EventSubscriptionService(writes, transactions, outbox),
            ),
            (
                "ResourceChangeService",
                resource_change_pb2_grpc.add_ResourceChangeServiceServicer_to_server,
                ResourceChangeService(database, History(resources.tables), tokens, _HISTORY),
            ),
            (
                "CellService",
                cell_pb2_grpc.add_CellServiceServicer_to_server,
                CellService(
                    database, resources, records, repository, cell_feed, tokens, operations
                ),
            ),
            (
                "DeletionService",
                deletion_pb2_grpc.add_DeletionServiceServicer_to_server,
                DeletionService(transactions, records, deleter, operations),
            ),
            (
                "OperationService",
                operation_pb2_grpc.add_OperationServiceServicer_to_server,
                OperationService(writes),
            ),
            (
                "CatalogService",
                catalog_pb2_grpc.add_CatalogServiceServicer_to_server,
                CatalogService(transactions, tokens, index),
            ),
            (
                "ApiSchemaService",
                api_schema_pb2_grpc.add_ApiSchemaServiceServicer_to_server,
                ApiSchemaService(writes, transactions, records, library),
            ),
            (
                "AccessGrantService",
                access_grant_pb2_grpc.add_AccessGrantServiceServicer_to_server,
                AccessGrantService(writes, transactions, records, grants),
            ),
            (
                "ResourceTypeService",
                resource_type_pb2_grpc.add_ResourceTypeServiceServicer_to_server,
                ResourceTypeService(writes),
            ),
            (
                "ResourceClaimService",
                resource_claim_pb2_grpc.add_ResourceClaimServiceServicer_to_server,
                ResourceClaimService(writes),
            ),
            (
                "PreviewService",
                preview_pb2_grpc.add_PreviewServiceServicer_to_server,
                PreviewService(writes, previews),
            ),
            (
                "PlatformRuleService",
                platform_rules_pb2_grpc.add_PlatformRuleServiceServicer_to_server,
                PlatformRuleService(database, records, codecs, compliance),
            ),
            (
                "WorkloadService",
                workload_pb2_grpc.add_WorkloadServiceServicer_to_server,
                WorkloadService(),
            ),
        ):
            server.add(_PACKAGE + name, add, servicer)
        server.add(
            "google.longrunning.Operations",
            operations_pb2_grpc.add_OperationsServicer_to_server,
            LongRunning(transactions, writes, records, operations, feed),
        )
        yield


@asynccontextmanager
async def _running(loop: Loop) -> AsyncIterator[None]:
    """Run a loop meanwhile; one that fails is logged, and starts again."""
    task = asyncio.create_task(loop.run(), name=loop.name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
