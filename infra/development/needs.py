"""What the notebook needs of an account and a zone, for who asks without the CDK."""

INSTANCE_TYPES = {False: "ml.m5.xlarge", True: "ml.g5.xlarge"}
"""By whether there is to be a GPU, which then is that of the service's own instances."""
ENDPOINTS = (
    "sagemaker.api",  # stops the notebook when it is idle
)
"""What a notebook calls beyond the network's own endpoints, in a network without a route to the internet."""
