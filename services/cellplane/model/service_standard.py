"""What people write, on the wire: one servicer for each kind, each method one call.

The methods' names are the contract's; what they mean stands in its files.
"""
# ruff: noqa: ARG002, N802

from __future__ import annotations

from typing import Any

from google.protobuf.empty_pb2 import Empty

from cellplane.api.model.v1 import (
    component_pb2,
    component_pb2_grpc,
    deployment_pb2,
    deployment_pb2_grpc,
    deployment_pipeline_pb2,
    deployment_pipeline_pb2_grpc,
    environment_pb2,
    environment_pb2_grpc,
    organization_pb2,
    organization_pb2_grpc,
    project_pb2,
    project_pb2_grpc,
    release_pb2,
    release_pb2_grpc,
    secret_reference_pb2,
    secret_reference_pb2_grpc,
)
from cellplane.model.domain.kinds import Kind
from cellplane.model.writes import Writes


class OrganizationService(organization_pb2_grpc.OrganizationServiceServicer):
    """See ``model/v1/organization.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods = writes.methods(Kind.ORGANIZATION, organization_pb2.Organization)

    async def CreateOrganization(
        self, request: organization_pb2.CreateOrganizationRequest, context: Any
    ) -> organization_pb2.Organization:
        """Create an organization."""
        return await self._methods.create(request)

    async def GetOrganization(
        self, request: organization_pb2.GetOrganizationRequest, context: Any
    ) -> organization_pb2.Organization:
        """Read an organization."""
        return await self._methods.get(request)

    async def ListOrganizations(
        self, request: organization_pb2.ListOrganizationsRequest, context: Any
    ) -> organization_pb2.ListOrganizationsResponse:
        """List them, by name."""
        return await self._methods.list(request, organization_pb2.ListOrganizationsResponse())

    async def BatchGetOrganizations(
        self, request: organization_pb2.BatchGetOrganizationsRequest, context: Any
    ) -> organization_pb2.BatchGetOrganizationsResponse:
        """Read several."""
        return await self._methods.batch_get(
            request, organization_pb2.BatchGetOrganizationsResponse()
        )

    async def UpdateOrganization(
        self, request: organization_pb2.UpdateOrganizationRequest, context: Any
    ) -> organization_pb2.Organization:
        """Change an organization."""
        return await self._methods.update(request)

    async def DeleteOrganization(
        self, request: organization_pb2.DeleteOrganizationRequest, context: Any
    ) -> Empty:
        """Delete an organization."""
        return await self._methods.delete(request)


class EnvironmentService(environment_pb2_grpc.EnvironmentServiceServicer):
    """See ``model/v1/environment.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods = writes.methods(Kind.ENVIRONMENT, environment_pb2.Environment)

    async def CreateEnvironment(
        self, request: environment_pb2.CreateEnvironmentRequest, context: Any
    ) -> environment_pb2.Environment:
        """Create an environment."""
        return await self._methods.create(request)

    async def GetEnvironment(
        self, request: environment_pb2.GetEnvironmentRequest, context: Any
    ) -> environment_pb2.Environment:
        """Read an environment."""
        return await self._methods.get(request)

    async def ListEnvironments(
        self, request: environment_pb2.ListEnvironmentsRequest, context: Any
    ) -> environment_pb2.ListEnvironmentsResponse:
        """List them, by name."""
        return await self._methods.list(request, environment_pb2.ListEnvironmentsResponse())

    async def BatchGetEnvironments(
        self, request: environment_pb2.BatchGetEnvironmentsRequest, context: Any
    ) -> environment_pb2.BatchGetEnvironmentsResponse:
        """Read several."""
        return await self._methods.batch_get(
            request, environment_pb2.BatchGetEnvironmentsResponse()
        )

    async def UpdateEnvironment(
        self, request: environment_pb2.UpdateEnvironmentRequest, context: Any
    ) -> environment_pb2.Environment:
        """Change an environment."""
        return await self._methods.update(request)

    async def DeleteEnvironment(
        self, request: environment_pb2.DeleteEnvironmentRequest, context: Any
    ) -> Empty:
        """Delete an environment."""
        return await self._methods.delete(request)


class DeploymentPipelineService(deployment_pipeline_pb2_grpc.DeploymentPipelineServiceServicer):
    """See ``model/v1/deployment_pipeline.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods = writes.methods(
            Kind.DEPLOYMENT_PIPELINE, deployment_pipeline_pb2.DeploymentPipeline
        )

    async def CreateDeploymentPipeline(
        self, request: deployment_pipeline_pb2.CreateDeploymentPipelineRequest, context: Any
    ) -> deployment_pipeline_pb2.DeploymentPipeline:
        """Create a pipeline."""
        return await self._methods.create(request)

    async def GetDeploymentPipeline(
        self, request: deployment_pipeline_pb2.GetDeploymentPipelineRequest, context: Any
    ) -> deployment_pipeline_pb2.DeploymentPipeline:
        """Read a pipeline."""
        return await self._methods.get(request)

    async def ListDeploymentPipelines(
        self, request: deployment_pipeline_pb2.ListDeploymentPipelinesRequest, context: Any
    ) -> deployment_pipeline_pb2.ListDeploymentPipelinesResponse:
        """List them, by name."""
        return await self._methods.list(
            request, deployment_pipeline_pb2.ListDeploymentPipelinesResponse()
        )

    async def BatchGetDeploymentPipelines(
        self, request: deployment_pipeline_pb2.BatchGetDeploymentPipelinesRequest, context: Any
    ) -> deployment_pipeline_pb2.BatchGetDeploymentPipelinesResponse:
        """Read several."""
        return await self._methods.batch_get(
            request, deployment_pipeline_pb2.BatchGetDeploymentPipelinesResponse()
        )

    async def UpdateDeploymentPipeline(
        self, request: deployment_pipeline_pb2.UpdateDeploymentPipelineRequest, context: Any
    ) -> deployment_pipeline_pb2.DeploymentPipeline:
        """Change a pipeline."""
        return await self._methods.update(request)

    async def DeleteDeploymentPipeline(
        self, request: deployment_pipeline_pb2.DeleteDeploymentPipelineRequest, context: Any
    ) -> Empty:
        """Delete a pipeline."""
        return await self._methods.delete(request)


class ProjectService(project_pb2_grpc.ProjectServiceServicer):
    """See ``model/v1/project.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods = writes.methods(Kind.PROJECT, project_pb2.Project)

    async def CreateProject(
        self, request: project_pb2.CreateProjectRequest, context: Any
    ) -> project_pb2.Project:
        """Create a project."""
        return await self._methods.create(request)

    async def GetProject(
        self, request: project_pb2.GetProjectRequest, context: Any
    ) -> project_pb2.Project:
        """Read a project."""
        return await self._methods.get(request)

    async def ListProjects(
        self, request: project_pb2.ListProjectsRequest, context: Any
    ) -> project_pb2.ListProjectsResponse:
        """List them, by name."""
        return await self._methods.list(request, project_pb2.ListProjectsResponse())

    async def BatchGetProjects(
        self, request: project_pb2.BatchGetProjectsRequest, context: Any
    ) -> project_pb2.BatchGetProjectsResponse:
        """Read several."""
        return await self._methods.batch_get(request, project_pb2.BatchGetProjectsResponse())

    async def UpdateProject(
        self, request: project_pb2.UpdateProjectRequest, context: Any
    ) -> project_pb2.Project:
        """Change a project."""
        return await self._methods.update(request)

    async def DeleteProject(self, request: project_pb2.DeleteProjectRequest, context: Any) -> Empty:
        """Delete a project."""
        return await self._methods.delete(request)


class SecretReferenceService(secret_reference_pb2_grpc.SecretReferenceServiceServicer):
    """See ``model/v1/secret_reference.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods = writes.methods(Kind.SECRET_REFERENCE, secret_reference_pb2.SecretReference)

    async def CreateSecretReference(
        self, request: secret_reference_pb2.CreateSecretReferenceRequest, context: Any
    ) -> secret_reference_pb2.SecretReference:
        """Create a secret reference."""
        return await self._methods.create(request)

    async def GetSecretReference(
        self, request: secret_reference_pb2.GetSecretReferenceRequest, context: Any
    ) -> secret_reference_pb2.SecretReference:
        """Read a secret reference."""
        return await self._methods.get(request)

    async def ListSecretReferences(
        self, request: secret_reference_pb2.ListSecretReferencesRequest, context: Any
    ) -> secret_reference_pb2.ListSecretReferencesResponse:
        """List them, by name."""
        return await self._methods.list(
            request, secret_reference_pb2.ListSecretReferencesResponse()
        )

    async def BatchGetSecretReferences(
        self, request: secret_reference_pb2.BatchGetSecretReferencesRequest, context: Any
    ) -> secret_reference_pb2.BatchGetSecretReferencesResponse:
        """Read several."""
        return await self._methods.batch_get(
            request, secret_reference_pb2.BatchGetSecretReferencesResponse()
        )

    async def UpdateSecretReference(
        self, request: secret_reference_pb2.UpdateSecretReferenceRequest, context: Any
    ) -> secret_reference_pb2.SecretReference:
        """Change a secret reference."""
        return await self._methods.update(request)

    async def DeleteSecretReference(
        self, request: secret_reference_pb2.DeleteSecretReferenceRequest, context: Any
    ) -> Empty:
        """Delete a secret reference."""
        return await self._methods.delete(request)


class ComponentService(component_pb2_grpc.ComponentServiceServicer):
    """See ``model/v1/component.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods = writes.methods(Kind.COMPONENT, component_pb2.Component)

    async def CreateComponent(
        self, request: component_pb2.CreateComponentRequest, context: Any
    ) -> component_pb2.Component:
        """Create a component."""
        return await self._methods.create(request)

    async def GetComponent(
        self, request: component_pb2.GetComponentRequest, context: Any
    ) -> component_pb2.Component:
        """Read a component."""
        return await self._methods.get(request)

    async def ListComponents(
        self, request: component_pb2.ListComponentsRequest, context: Any
    ) -> component_pb2.ListComponentsResponse:
        """List them, by name."""
        return await self._methods.list(request, component_pb2.ListComponentsResponse())

    async def BatchGetComponents(
        self, request: component_pb2.BatchGetComponentsRequest, context: Any
    ) -> component_pb2.BatchGetComponentsResponse:
        """Read several."""
        return await self._methods.batch_get(request, component_pb2.BatchGetComponentsResponse())

    async def UpdateComponent(
        self, request: component_pb2.UpdateComponentRequest, context: Any
    ) -> component_pb2.Component:
        """Change a component."""
        return await self._methods.update(request)

    async def DeleteComponent(
        self, request: component_pb2.DeleteComponentRequest, context: Any
    ) -> Empty:
        """Delete a component."""
        return await self._methods.delete(request)


class DeploymentService(deployment_pb2_grpc.DeploymentServiceServicer):
    """See ``model/v1/deployment.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods = writes.methods(Kind.DEPLOYMENT, deployment_pb2.Deployment)

    async def CreateDeployment(
        self, request: deployment_pb2.CreateDeploymentRequest, context: Any
    ) -> deployment_pb2.Deployment:
        """Create a deployment."""
        return await self._methods.create(request)

    async def GetDeployment(
        self, request: deployment_pb2.GetDeploymentRequest, context: Any
    ) -> deployment_pb2.Deployment:
        """Read a deployment."""
        return await self._methods.get(request)

    async def ListDeployments(
        self, request: deployment_pb2.ListDeploymentsRequest, context: Any
    ) -> deployment_pb2.ListDeploymentsResponse:
        """List them, by name."""
        return await self._methods.list(request, deployment_pb2.ListDeploymentsResponse())

    async def BatchGetDeployments(
        self, request: deployment_pb2.BatchGetDeploymentsRequest, context: Any
    ) -> deployment_pb2.BatchGetDeploymentsResponse:
        """Read several."""
        return await self._methods.batch_get(request, deployment_pb2.BatchGetDeploymentsResponse())

    async def UpdateDeployment(
        self, request: deployment_pb2.UpdateDeploymentRequest, context: Any
    ) -> deployment_pb2.Deployment:
        """Change a deployment."""
        return await self._methods.update(request)

    async def DeleteDeployment(
        self, request: deployment_pb2.DeleteDeploymentRequest, context: Any
    ) -> Empty:
        """Delete a deployment."""
        return await self._methods.delete(request)


class ReleaseService(release_pb2_grpc.ReleaseServiceServicer):
    """See ``model/v1/release.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods = writes.reads(Kind.RELEASE, release_pb2.Release)

    async def GetRelease(
        self, request: release_pb2.GetReleaseRequest, context: Any
    ) -> release_pb2.Release:
        """Read a release."""
        return await self._methods.get(request)

    async def ListReleases(
        self, request: release_pb2.ListReleasesRequest, context: Any
    ) -> release_pb2.ListReleasesResponse:
        """List them, by name."""
        return await self._methods.list(request, release_pb2.ListReleasesResponse())

    async def BatchGetReleases(
        self, request: release_pb2.BatchGetReleasesRequest, context: Any
    ) -> release_pb2.BatchGetReleasesResponse:
        """Read several."""
        return await self._methods.batch_get(request, release_pb2.BatchGetReleasesResponse())
