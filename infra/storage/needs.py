"""What the data needs of a region, for who asks without the CDK."""

HEALTHIMAGING_REGIONS = ("ap-southeast-2", "eu-west-1", "eu-west-2", "us-east-1", "us-west-2")
"""Where there is HealthImaging: its Developer Guide, "AWS HealthImaging endpoints and quotas", of October 2026."""
