"""What each role of the deployment asks of AWS while the tests run, held to what it may ask: permissions.txt.

The emulator refuses nothing. Each call is taken to its role by the program that makes it, and to the actions that it
needs by AWS's Service Authorization Reference ("Actions, resources, and condition keys for Amazon S3", and so on).
"""

import sys
from collections import defaultdict
from pathlib import Path

LISTING = Path(__file__).parent / "infra" / "permissions.txt"

ROLES = {
    "containers.compact.__main__": "CompactionTaskRole",
    "containers.decompress.__main__": "DecompressionTaskRole",
    "containers.reconstruct.__main__": "ReconstructionJobRole",
    "containers.send.__main__": "SendingTaskRole",
    "lambdas.dispatch_reconstruction": "ReconstructionDispatchRole",
    "lambdas.import_results": "ImportingImportResultsRole",
    "lambdas.reconcile": "ReconciliationReconcileRole",
    "lambdas.refresh_gateway": "DeliveryRefreshRole",
    "lambdas.renew_instances": "PatchingRenewRole",
    "lambdas.scale_decompression": "DecompressionScaleRole",
    "raki.service.operator": "OperatorsRole",
}
"""By the module whose code runs under it."""

ACTIONS = {
    "s3:CompleteMultipartUpload": ["s3:PutObject"],
    "s3:CreateMultipartUpload": ["s3:PutObject"],
    "s3:HeadObject": ["s3:GetObject"],
    "s3:ListObjectsV2": ["s3:ListBucket"],
    "s3:UploadPart": ["s3:PutObject"],
    "sqs:SendMessageBatch": ["sqs:SendMessage"],
    "sqs:DeleteMessageBatch": ["sqs:DeleteMessage"],
}
"""Of the calls that aren't called as their action is."""
OF_A_VERSION = {"s3:PutObjectTagging": "s3:PutObjectVersionTagging", "s3:GetObject": "s3:GetObjectVersion"}

KEYS = {
    "s3:GetObject": ["kms:Decrypt on DataKey via s3"],
    "s3:PutObject": ["kms:GenerateDataKey on DataKey via s3", "kms:Decrypt on DataKey via s3"],
    "sqs:ReceiveMessage": ["kms:Decrypt on OperationsKey via sqs"],
    "sqs:SendMessage": ["kms:GenerateDataKey on OperationsKey via sqs", "kms:Decrypt on OperationsKey via sqs"],
    "dynamodb:GetItem": ["kms:Decrypt on DataKey via dynamodb"],
}
"""What of the keys an action needs beside it, on what is encrypted by them.

Amazon S3 User Guide, "Using server-side encryption with AWS KMS keys"; Amazon SQS Developer Guide, "Key management".
"""
BUCKETS = {"-raw": "Raw", "-prepared": "Prepared", "-results": "Results"}
"""By the ending of a bucket's name in the tests, where it tells what it stands for."""


def listed(text):
    """By role, which actions it may take on what."""
    roles = defaultdict(lambda: defaultdict(set))
    role = ""
    for line in text.splitlines():
        if line.startswith("  "):
            action, _, resource = line.strip().partition(" on ")
            roles[role][action].add(resource)
        elif line:
            role = line
    return {name: dict(actions) for name, actions in roles.items()}


def role_of(frame):
    """The role under which a call runs, by who makes it; None where that is a test, if in the midst of a program."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module in ROLES:
            return ROLES[module]
        if module.startswith("tests.") and module != __name__:
            return None
        frame = frame.f_back
    return None


def needed(service, operation, parameters):
    """The actions that a call needs, each with the bucket that it is on where that can be told, else None."""
    call = f"{service}:{operation}"
    actions = ACTIONS.get(call, [call])
    if parameters.get("VersionId"):
        actions = [OF_A_VERSION.get(action, action) for action in actions]
    bucket = next((kind for end, kind in BUCKETS.items() if str(parameters.get("Bucket", "")).endswith(end)), None)
    found = [(action, bucket) for action in actions]
    if operation == "CopyObject":
        source = parameters["CopySource"]
        read = source["Bucket"] if isinstance(source, dict) else source
        origin = next((kind for end, kind in BUCKETS.items() if read.endswith(end)), None)
        return [("s3:PutObject", bucket), ("s3:GetObject", origin)]
    return found


class Calls:
    """Notes the calls that no line of the listing allows; install once a process."""

    def __init__(self, roles):
        self._roles = roles
        self.seen = set()
        self.refused = set()

    def note(self, service, operation, parameters, frame):
        role = role_of(frame)
        if role is None:
            return
        allowed = self._roles[role]
        for action, bucket in needed(service, operation, parameters):
            self.seen.add((role, action, bucket))
            resources = allowed.get(action, set())
            if not any(
                bucket is None or resource == bucket or resource.startswith(f"{bucket}/") for resource in resources
            ):
                self.refused.add(f"{role} has no {action}" + (f" on {bucket}" if bucket else ""))
            for line in KEYS.get(action, []):
                key_action, _, key = line.partition(" on ")
                if key not in allowed.get(key_action, set()):
                    self.refused.add(f"{role} has no {line}, which {action} needs")


def watch(client_class, calls):
    """Has every call of botocore's clients noted before it is made."""
    original = client_class._make_api_call

    def noted(client, operation, parameters):
        service = client.meta.service_model.signing_name
        calls.note(service, operation, parameters, sys._getframe(1))
        return original(client, operation, parameters)

    client_class._make_api_call = noted
    return lambda: setattr(client_class, "_make_api_call", original)
