"""GPU instances: of which types they are, and how many run below a limit of vCPUs."""

from collections.abc import Mapping
from math import ceil
from types import MappingProxyType

# One 24 GB or 16 GB GPU, 16 GiB and an NVMe disk each; several types, so that spot capacity is found.
VCPUS_OF: Mapping[str, int] = MappingProxyType({"g6.xlarge": 4, "g5.xlarge": 4, "g4dn.xlarge": 4})
"""vCPUs of each type (Amazon EC2 Instance Types, "Accelerated computing"); a test compares them with EC2's own list."""
INSTANCE_TYPES = tuple(VCPUS_OF)
VCPUS = 4
"""What a job asks for: all that the smallest type has, so that an instance never has two."""


def max_vcpus(n_instances: int, vcpus_of: Mapping[str, int] = VCPUS_OF) -> int:
    """The limit of a compute environment in which no more instances run than this, whatever types Batch picks.

    Batch knows a limit of vCPUs alone. The smallest type is what most of fit below it.
    """
    return n_instances * min(vcpus_of.values())


def most_instances(limit: int, vcpus_of: Mapping[str, int] = VCPUS_OF) -> int:
    """How many instances there may be below a limit of vCPUs, whatever types Batch picks.

    Batch may exceed the limit "to meet your capacity requirements", never by more than one instance (AWS Batch API
    Reference, ComputeResource, maxvCpus): the last one is started while less than the limit is there, and may be larger
    than what is left. At the limit itself nothing is left to be met.
    """
    return ceil(limit / min(vcpus_of.values()))
