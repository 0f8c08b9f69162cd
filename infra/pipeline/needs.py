"""What the computing needs of an account and a zone, for who asks without the CDK."""

# One 24 GB or 16 GB GPU, 4 vCPU, 16 GiB and an NVMe disk each; several types, so that spot capacity is found.
INSTANCE_TYPES = ("g6.xlarge", "g5.xlarge", "g4dn.xlarge")
VCPUS = 4
