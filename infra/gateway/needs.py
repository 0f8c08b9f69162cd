"""What the share needs of a region and an account, for who asks without the CDK."""

REGIONS = (
    *("ap-south-1", "eu-central-1", "us-east-1", "us-west-2"),
    "eusc-de-east-1",  # AWS's European Sovereign Cloud
    *("eu-isoe-west-1", "us-iso-east-1", "us-iso-west-1"),
    *("us-isob-east-1", "us-isob-west-1", "us-isof-east-1", "us-isof-south-1"),
)
"""Where CloudFormation has file shares, by its own schemas of October 2026."""
HOST_TYPE = "m5.xlarge"
"""Of the gateway on EC2: the least that its guide asks for."""
HOST_VCPUS = 4
