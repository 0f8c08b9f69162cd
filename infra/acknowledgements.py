"""What the rule packs AwsSolutions and HIPAA.Security find and we leave as it is: each rule, where, and why.

A test fails for every finding that isn't here, and for every entry that nothing is found for any more.
"""

from dataclasses import dataclass
from fnmatch import fnmatch

import aws_cdk as cdk

from infra.deployment import Deployment

_STORAGE = "IAM5[Resource::RakiStorage:ExportsOutputFnGetAtt"
RAW = f"{_STORAGE}Raw72517081Arn8AABA17C/*]"
PREPARED = f"{_STORAGE}Prepared9D5FCEADArnE0DD3644/*]"
RESULTS = f"{_STORAGE}Results25575328Arn5DD4F5AA/*]"
CATALOGUE = f"{_STORAGE}Results25575328Arn5DD4F5AA/raki-catalogue/*]"
ROWS = f"{_STORAGE}Results25575328Arn5DD4F5AA/*/catalogue.jsonl]"
MANIFESTS = f"{_STORAGE}Results25575328Arn5DD4F5AA/*/manifest.json]"
IMAGES = f"{_STORAGE}Results25575328Arn5DD4F5AA/*.dcm]"
_IMPORTS = f"{_STORAGE}ImportsC5EA4F6FArnBBEA0D9A"
_ACCOUNT = "<AWS::Region>:<AWS::AccountId>"
ARN = "IAM5[Resource::arn:<AWS::Partition>"


@dataclass(frozen=True, kw_only=True)
class Acknowledged:
    """One rule's finding at some constructs, and the reason why it stays."""

    rule: str
    """As the report names it, its pack in front."""
    where: tuple[str, ...]
    """Paths of constructs; `*` stands for any part."""
    why: str


def _aws(rule: str, *where: str, why: str) -> Acknowledged:
    return Acknowledged(rule=f"AwsSolutions::AwsSolutions-{rule}", where=where, why=why)


def _hipaa(rule: str, *where: str, why: str) -> Acknowledged:
    return Acknowledged(rule=f"HIPAA.Security::HIPAA.Security-{rule}", where=where, why=why)


WORKER = "RakiPipeline/Decompression/TaskRole/*"
JOB = "RakiPipeline/Reconstruction/JobRole/*"
REFRESH = "RakiPipeline/Delivery/Refresh/*"
RENEW = "RakiPipeline/Patching/Renew/*"
RECONCILE = "RakiPipeline/Reconciliation/Reconcile/*"
SENDER = "RakiPipeline/Sending/TaskRole/*"
IMPORTER = "RakiPipeline/Importing/ImportResults/*"
HEALTHIMAGING = "RakiPipeline/Importing/DataAccess/*"
OPERATOR = "RakiPipeline/Operators/Role/*"
INSTANCES = "RakiPipeline/Reconstruction/Instances/Role/*"
NOTEBOOK = "RakiDevelopment/Notebook/Role/*"
BUILDS = "RakiDevelopment/Builds/Role/*"
COMPACTOR = "RakiPipeline/Compaction/TaskRole/*"
RESEARCHERS = "RakiCatalogue/Researchers/*"
ACTIVATION = "RakiGateway/Activation/Handler/*"
LOG_BUCKETS = ("*/AccessLogs/Resource", "*/AuditLogs/Resource")

ACKNOWLEDGED = (
    # Permissions with a wildcard: objects of one bucket
    _aws(RAW, WORKER, why="The worker reads any scan that is dropped; their keys are the site's to choose."),
    _aws(RAW, JOB, why="The job tags any scan as reconstructed, as the lifecycle waits for; it can't read it."),
    _aws(RAW, RECONCILE, why="It asks whether a dropped file still stands; S3 grants that with reading only."),
    _aws(RAW, OPERATOR, why="An operator submits any file, and looks for any; nothing of the role deletes one."),
    _aws(RAW, "*/RawRole/*", why="The gateway writes any file that is dropped on the share."),
    _aws(PREPARED, WORKER, JOB, why="Keys are scan ids, one for each scan."),
    _aws(PREPARED, NOTEBOOK, why="New networks are developed on prepared scans; the notebook can only read them."),
    _aws(PREPARED, RESEARCHERS, why="Prepared scans of a cohort are read; keys are scan ids, and nothing is written."),
    _aws(CATALOGUE, RESEARCHERS, why="The catalogue's own files, read only."),
    _aws(CATALOGUE, COMPACTOR, why="The catalogue's own files, which it names by their content."),
    _aws(ROWS, COMPACTOR, why="Rows lie beside results, which stand where the site put the scan: under any key."),
    _aws("IAM5[Resource::<Answers9615456C.Arn>/*]", RESEARCHERS, why="Athena names the answers."),
    _aws(RESULTS, WORKER, JOB, RECONCILE, why="Results stand where the site put the scan: under any key."),
    _aws(RESULTS, OPERATOR, why="An operator reads any result, and puts the page of a cancelled scan in its place."),
    _aws(RESULTS, "*/ResultsRole/*", why="The share shows every result; it can only read them."),
    _aws(
        MANIFESTS,
        WORKER,
        JOB,
        REFRESH,
        RECONCILE,
        SENDER,
        IMPORTER,
        why="Manifests alone: what an earlier run wrote, which scan has ended.",
    ),
    _aws(
        f"{_IMPORTS}/input/*]",
        IMPORTER,
        HEALTHIMAGING,
        why="Copies of any result's images; one writes them, the other reads them.",
    ),
    _aws(
        f"{_IMPORTS}/output/*]",
        IMPORTER,
        HEALTHIMAGING,
        why="HealthImaging names what it writes; it is read for how a job ended.",
    ),
    _aws(IMAGES, IMPORTER, why="Any result's DICOM images go to the site's data store, and nothing else of it."),
    _aws(IMAGES, SENDER, why="Any result's DICOM images go to the site's archive, and nothing else of it."),
    _aws(
        f"{ARN}:kms:{_ACCOUNT}:key/*]",
        SENDER,
        why="Whichever key the site has encrypted its secret with; by its condition for that one secret alone.",
    ),
    _aws("IAM5[Resource::<ModelsC55D3500.Arn>/*]", NOTEBOOK, why="The objects of the notebook's own bucket."),
    _aws("IAM5[Resource::<SourcesBE4D2488.Arn>/source/*]", BUILDS, why="Any commit's sources, read only."),
    # Permissions with a wildcard: what has no name yet, or none at all
    _aws(
        "IAM5[Resource::*]",
        "*/ExecutionRole/*",
        BUILDS,
        why="ecr:GetAuthorizationToken knows no resource.",
    ),
    _aws("IAM5[Resource::*]", "*/Dispatch/Role/*", why="Batch's listings and quotas know no resource."),
    _aws("IAM5[Resource::*]", RENEW, why="batch:DescribeComputeEnvironments knows no resource."),
    _aws(f"{ARN}:cloudformation:{_ACCOUNT}:stack/RakiStorage/*]", OPERATOR, why="AWS adds an id to a stack's name."),
    _aws(f"{ARN}:cloudformation:{_ACCOUNT}:stack/RakiPipeline/*]", OPERATOR, why="AWS adds an id to a stack's name."),
    _aws("IAM5[Resource::*]", OPERATOR, why="batch:DescribeJobs knows no resource."),
    _aws(
        f"{ARN}:batch:{_ACCOUNT}:job/*]", OPERATOR, why="The job of a cancelled scan is ended; Batch makes up its id."
    ),
    _aws(f"{ARN}:batch:{_ACCOUNT}:job/*]", "*/Dispatch/Role/*", why="A hung job is ended; Batch makes up its id."),
    _aws("IAM5[Resource::*]", INSTANCES, why="ecs:DiscoverPollEndpoint knows no resource."),
    _aws(
        "IAM5[Resource::*]",
        ACTIVATION,
        why="ActivateGateway and a Lambda's network interfaces have no resource beforehand.",
    ),
    _aws(f"{ARN}:storagegateway:{_ACCOUNT}:gateway/*]", ACTIVATION, why="AWS names the gateway when it activates it."),
    _aws(f"{ARN}:ecs:{_ACCOUNT}:cluster/*]", INSTANCES, why="Batch makes and names its clusters itself."),
    _aws(f"{ARN}:ecs:{_ACCOUNT}:container-instance/*]", INSTANCES, why="Instances are named when they register."),
    _aws(
        f"{ARN}:ecs:{_ACCOUNT}:task/<DecompressionClusterC4C71345>/*]",
        WORKER,
        why="A worker protects the task that it is; tasks are named when they start.",
    ),
    _aws(
        f"{ARN}:logs:{_ACCOUNT}:log-group:/aws/sagemaker/NotebookInstances:*]",
        NOTEBOOK,
        why="SageMaker names the streams of a notebook's log.",
    ),
    _aws(
        "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]",
        "RakiStorage/BucketNotificationsHandler*",
        why="The CDK's own function that sets notifications; it runs at deployment only.",
    ),
    *(
        _aws(
            f"IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{policy}]",
            "RakiStorage/Backups/Role/*",
            why="What AWS Backup needs, as its guide has it; AWS keeps the policy up with it.",
        )
        for policy in ("service-role/AWSBackupServiceRolePolicyForBackup", "AWSBackupServiceRolePolicyForS3Backup")
    ),
    _hipaa("IAMNoInlinePolicy", "*", why="A policy of exactly one role goes with it and can't be put on another."),
    # Lambdas
    _hipaa("LambdaConcurrency", "*", why="A reservation fails in new accounts; a schedule and a queue limit them."),
    _hipaa(
        "LambdaDLQ",
        "*/Scale/*",
        "*/Dispatch/*",
        RECONCILE,
        RENEW,
        why="The next run does all that this one left; three failures raise an alarm.",
    ),
    _aws(
        "SQS3", "*/Notices/*", why="A notice is worth nothing after a minute, when the schedule does what it asked for."
    ),
    _aws(
        "SQS3",
        "RakiStorage/SendEventsDeadLetters/*",
        "RakiStorage/ImportEventsDeadLetters/*",
        why="These are the dead letters, of a rule and no queue.",
    ),
    _hipaa("LambdaDLQ", REFRESH, IMPORTER, why="It is fed by a queue, which has dead letters."),
    _hipaa("LambdaDLQ", ACTIVATION, why="CloudFormation waits for its answer and reports a missing one."),
    _hipaa(
        "LambdaInsideVPC",
        "RakiPipeline/*",
        why="They call AWS's services alone and hold no scan; in the network each would need more endpoints.",
    ),
    # The worker, the sender, the compaction
    _aws(
        "ECS2",
        "RakiPipeline/Decompression/Task/*",
        "RakiPipeline/Sending/Task/*",
        "RakiPipeline/Canary/Task/*",
        "RakiPipeline/Compaction/Task/*",
        why="The environment has names of resources, and no secret.",
    ),
    # Buckets and the ledger
    _hipaa(
        "S3BucketReplicationEnabled",
        "*",
        why="One region by design: patients' data leave it only if the site decides so. Raw scans are versioned.",
    ),
    _hipaa(
        "S3BucketVersioningEnabled",
        "RakiStorage/Prepared/Resource",
        "RakiStorage/Imports/Resource",
        "RakiCatalogue/Answers/Resource",
        why="Prepared scans, copies of images and answers can be made again.",
    ),
    _hipaa("S3DefaultEncryptionKMS", *LOG_BUCKETS, why="S3 delivers its logs to buckets with its own encryption only."),
    _hipaa(
        "DynamoDBInBackupPlan",
        "RakiStorage/Ledger/Resource",
        why="It can be restored to any second of 35 days, and can't be deleted.",
    ),
    _hipaa("CloudTrailCloudWatchLogsEnabled", "RakiStorage/Audit/*", why="A second copy, billed by the GB, of S3's."),
    _aws("SMG4", "RakiStorage/IdKey", why="It opens nothing; under a new one a scan announced again would be another."),
    _hipaa("SecretsManagerRotationEnabled", "RakiStorage/IdKey", why="As above."),
    # The network
    _hipaa(
        "VPCDefaultSecurityGroupClosed",
        "RakiNetwork/Vpc/Resource",
        why="Nothing uses it; only a function at deployment could close it.",
    ),
    _hipaa(
        "VPCNoUnrestrictedRouteToIGW",
        "RakiNetwork/Vpc/PublicSubnet*/DefaultRoute",
        why="The NAT gateway's own subnets, with nothing else in them; the other profiles have none.",
    ),
    # Development
    _hipaa("CodeBuildProjectSourceRepoUrl", "RakiDevelopment/*", why="The source is our bucket; there's no password."),
    # A gateway on EC2 with SMB's guest access
    _aws("SMG4", "RakiGateway/*", why="Nothing would carry a new password to the appliance and the scanners' hosts."),
    _hipaa("SecretsManagerRotationEnabled", "RakiGateway/*", why="As above."),
)


def of_models(models: str) -> Acknowledged:
    """The models of a bucket that the deployment names."""
    return _aws(
        f"IAM5[Resource::arn:<AWS::Partition>:s3:::{models.removeprefix('s3://')}/*]",
        JOB,
        why="Any model of the place that is named, read only.",
    )


def acknowledge(app: cdk.App, deployment: Deployment) -> None:
    """Tells the validation of `app`, whichever packs it runs, what is known."""
    paths = {construct.node.path: construct for construct in app.node.find_all()}
    for entry in (*ACKNOWLEDGED, *([of_models(deployment.models)] if deployment.models else [])):
        for path, construct in paths.items():
            # The name first: each question about a construct is a call into the CDK's own process.
            if any(fnmatch(path, one) for one in entry.where) and cdk.CfnResource.is_cfn_resource(construct):
                cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=entry.rule, reason=entry.why))
