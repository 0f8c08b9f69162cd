"""The CDK application: reads the deployment's settings from the context in cdk.json and builds the stacks."""

import sys

import aws_cdk as cdk

from infra.deployment import Deployment, SettingsError
from infra.service import build

if __name__ == "__main__":
    app = cdk.App()
    try:
        build(app, Deployment.from_context(app.node.get_all_context()))
    except SettingsError as error:
        sys.exit(f"raki: {error}")
    app.synth()
