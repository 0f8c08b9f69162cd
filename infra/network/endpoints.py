"""The interface endpoints of a network without a route to the internet: who calls what from inside it."""

# S3 and DynamoDB have gateway endpoints, which are free. The Lambdas run outside the network. Objects, messages, logs
# and images are encrypted by the services that hold them, which ask KMS themselves: nothing in here calls it.
INTERFACE_ENDPOINTS: tuple[str, ...] = (
    "ecr.api",  # workers and GPU instances sign in to the registry of their images
    "ecr.dkr",  # and pull them; the layers come out of S3
    "ecs",  # the agent of a GPU instance registers it with Batch's cluster; a worker asks not to be stopped at work
    "ecs-agent",  # and is told there which jobs to start and stop
    "ecs-telemetry",  # and reports their health; without it the agent keeps trying to
    "logs",  # both kinds of container write their log
    "secretsmanager",  # Fargate reads the key of the scan ids for a worker, the sender its certificate
    "sqs",  # both take messages; the workers send the requests for reconstruction
)
"""Names as in `com.amazonaws.REGION.NAME`. Each is billed by the hour in each zone, whether it is used or not."""
