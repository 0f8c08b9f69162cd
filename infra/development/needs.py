"""What the notebook needs of an account and a zone, for who asks without the CDK."""

# The GPU of the service's own instances.
INSTANCE_TYPE = "ml.g5.xlarge"
ENDPOINTS = (
    "codebuild",  # starts the build of images
    "sagemaker.api",  # stops the notebook when it is idle
)
"""What a notebook calls beyond the network's own endpoints, in a network without a route to the internet."""
