"""All stacks of a deployment: what holds data apart from what works on it."""

import aws_cdk as cdk

from infra.acknowledgements import acknowledge
from infra.catalogue.stack import CatalogueStack
from infra.deployment import Deployment
from infra.development.stack import DevelopmentStack
from infra.gateway.stack import GatewayStack
from infra.monitoring.stack import MonitoringStack
from infra.network.stack import NetworkStack
from infra.pipeline.stack import PipelineStack
from infra.storage.stack import StorageStack


def build(app: cdk.App, deployment: Deployment) -> None:
    """Adds the stacks to `app`, in the order in which they are deployed.

    Each carries the tags `project` and `profile`, by which AWS's bill can be told apart.
    """
    cdk.Tags.of(app).add("project", "raki")
    cdk.Tags.of(app).add("profile", deployment.profile)
    storage = StorageStack(app, "RakiStorage", deployment=deployment)
    network = NetworkStack(app, "RakiNetwork", storage=storage, deployment=deployment)
    gateway_arn = deployment.gateway_arn
    if deployment.gateway_on_ec2:
        gateway_arn = GatewayStack(
            app, "RakiGateway", network=network, storage=storage, deployment=deployment
        ).gateway_arn
    pipeline = PipelineStack(
        app, "RakiPipeline", network=network, storage=storage, gateway_arn=gateway_arn, deployment=deployment
    )
    MonitoringStack(
        app, "RakiMonitoring", storage=storage, pipeline=pipeline, deployment=deployment, gateway_arn=gateway_arn
    )
    if deployment.catalogue:
        CatalogueStack(app, "RakiCatalogue", storage=storage, deployment=deployment)
    if deployment.development:
        DevelopmentStack(
            app,
            "RakiDevelopment",
            network=network,
            storage=storage,
            scratch=pipeline.reconstruction.scratch,
            deployment=deployment,
        )
    acknowledge(app, deployment)
