"""The CDK application: reads the deployment's settings from the context in cdk.json and builds the stacks."""

import aws_cdk as cdk

from infra.deployment import Deployment
from infra.pipeline import PipelineStack
from infra.storage import StorageStack


def build(app: cdk.App) -> None:
    """Adds the two stacks to `app`: what holds data, and what works on it."""
    deployment = Deployment.from_context(app.node.try_get_context)
    storage = StorageStack(app, "RakiStorage")
    PipelineStack(app, "RakiPipeline", storage=storage, deployment=deployment)


if __name__ == "__main__":
    app = cdk.App()
    build(app)
    app.synth()
