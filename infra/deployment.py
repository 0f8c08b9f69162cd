"""What differs between two deployments, and nothing else."""

from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    ValidationError,
    model_validator,
)

from infra import values
from raki import options
from raki.destination import CALLING, Destination, require_title

PREFIX = "raki:"
NEW = "new"
OFF, CROSS_REGION = "off", "cross-region"
MOST_COUNTED_ZONES = 2
"""Of `Fn::GetAZs`, for a stack that is tied to no region, and never more (CDK, `Stack.availabilityZones`)."""
RESERVED_ADDRESSES = 5
"""Of each subnet, by AWS: Amazon VPC User Guide, "Subnet sizing"."""
OTHER_ADDRESSES = 32
"""What else than workers and GPU instances stands in a subnet: endpoints, a sender, a gateway, a notebook, FSx."""
DEFAULTS = options.Options()

PROFILES: Mapping[str, Mapping[str, Any]] = {
    # A group that tries it out, or a site with fewer than some fifty scans a day: almost nothing to pay while idle.
    "minimal": {
        "egress": "nat",
        "max_decompression_workers": 2,
        "max_reconstruction_jobs": 1,
        "scratch": "nvme",
        "surge": 3,
        "zones": 1,
    },
    # Scans all through the working day: a GPU that is warm, no route to the internet.
    "clinic": {
        "egress": "endpoints",
        "max_decompression_workers": 8,
        "max_reconstruction_jobs": 4,
        "scratch": "nvme",
        "warm_gpus": 1,
        "zones": 2,
    },
    # Many large scans, several jobs over the same one, and the place where the next network is developed.
    "research": {
        "development": True,
        "egress": "endpoints",
        "max_decompression_workers": 16,
        "max_reconstruction_jobs": 8,
        "scratch": "fsx-scratch",
        "zones": 2,
    },
}
"""What a profile sets; every one of these settings can be set by itself as well."""


class SettingsError(ValueError):
    """A setting in the context of cdk.json is missing, unknown or wrong; the message names it and what is needed."""


Count = Annotated[int, Field(ge=1)]
# IAM user guide, "IAM identifiers".
OperatorArn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]+$")]
Listed = BeforeValidator(values.listed)
SubnetId = Annotated[str, Field(pattern=r"^subnet-([0-9a-f]{8}|[0-9a-f]{17})$")]


class Deployment(BaseModel):
    """Settings of one deployment: the keys `raki:…` of the context in cdk.json, or `cdk deploy -c raki:KEY=VALUE`."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    profile: Literal["minimal", "clinic", "research"] = "minimal"

    # The share
    gateway_arn: Annotated[
        str, Field(pattern=r"^(arn:[^:]+:storagegateway:[^:]+:\d{12}:gateway/sgw-[0-9A-Fa-f]+)?$")
    ] = ""
    """ARN of the activated S3 File Gateway that serves the share; empty where there is none yet."""
    gateway_on_ec2: bool = False
    """Whether a gateway is hosted in the deployment's own network instead, for an evaluation."""
    share_protocol: Literal["nfs", "smb"] = "nfs"
    share_clients: Annotated[tuple[IPvAnyNetwork, ...], Listed] = ()
    """NFS: addresses or networks (CIDR) that may mount the share; SMB on EC2: those that reach it."""
    smb_authentication: Literal["active-directory", "guest"] = "active-directory"
    smb_guests_from_anywhere: bool = False
    """Acknowledges that guests of a gateway on site come from every network that reaches it; else they are refused."""
    smb_users: Annotated[tuple[str, ...], Listed] = ()
    """Active Directory's users and @groups that may use an SMB share; empty: everybody in the directory."""
    settling_s: Annotated[int, Field(ge=60, le=600)] = 60
    """How long a file on the share stays unchanged before the gateway says that it is uploaded."""

    # The data
    deidentify: bool = False
    """Whether results carry no patient, study or institution, but an opaque scan id."""
    archive_after_days: Count = 30
    """When the raw object of a delivered scan moves to Deep Archive."""
    keep_prepared_days: Count = 2
    """How long the decompressed k-space of a reconstructed scan is kept; of one that failed, three weeks."""
    object_lock_days: Annotated[int, Field(ge=0)] = 0
    """How long nobody deletes a version of a raw scan, not even the account's root; 0: no lock. Fixed at creation."""
    audit_data_events: bool = False
    """Whether CloudTrail records every reading and writing of an object; it is billed by the event."""

    backup: Literal["off", "vault", "cross-region"] = "off"
    """Whether AWS Backup copies raw scans, results and ledger into a vault each day, and on into another region's."""
    backup_copy_to: Annotated[str, Field(pattern=r"^(arn:[^:]+:backup:[a-z0-9-]+:\d{12}:backup-vault:[\w-]+)?$")] = ""
    """ARN of the vault there; empty unless `backup` is cross-region."""
    backup_days: Annotated[int, Field(ge=1, le=36500)] = 35
    """How long each day's backup is kept, and by nobody deleted."""

    # The images: what `raki.options` says of each; a scan's own raki.toml goes before them
    method: Annotated[str, values.option("method")] = DEFAULTS.method
    combine: Annotated[str, values.option("combine")] = DEFAULTS.combine
    coils: Annotated[int, values.option("coils")] = DEFAULTS.coils
    """Scans with fewer coils keep theirs."""
    seed: Annotated[int, values.option("seed")] = DEFAULTS.seed
    maps: Annotated[bool, values.option("maps")] = DEFAULTS.maps
    weights: Annotated[bool, values.option("weights")] = DEFAULTS.weights
    quantities: Annotated[bool, values.option("quantities")] = DEFAULTS.quantities
    kspace: Annotated[bool, values.option("kspace")] = DEFAULTS.kspace
    explain: Annotated[bool, values.option("explain")] = DEFAULTS.explain
    model: Annotated[str, values.option("model")] = DEFAULTS.model
    mismatch: Annotated[str, values.option("mismatch")] = DEFAULTS.mismatch
    models: Annotated[str, Field(pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.-]+)*)?$")] = ""
    """Where models are, as s3://BUCKET/PREFIX, in the deployment's account; empty: there are none."""

    # The picture archive (PACS)
    pacs: Annotated[str, AfterValidator(values.archive)] = ""
    """AETITLE@HOST:PORT of the archive that is sent each result's DICOM images; empty: none is."""
    pacs_calling: Annotated[str, AfterValidator(require_title)] = CALLING
    """Our own AE title, as the archive knows it."""
    pacs_tls: bool = False
    """Whether the connection is encrypted, and the archive's certificate checked."""
    pacs_trusted: Annotated[str, AfterValidator(values.certificates)] = ""
    """File of the certificates (PEM) by which it is checked; empty: those that the sender's system trusts."""
    pacs_certificate: Annotated[
        str, Field(pattern=r"^(arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:\S+)?$")
    ] = ""
    """ARN of the secret (Secrets Manager) with our own certificate and key (PEM); empty: the archive asks for none."""

    # AWS HealthImaging
    healthimaging: Annotated[str, Field(pattern=rf"^({NEW}|[0-9a-z]{{32}})?$")] = ""
    """The id of the data store that each result's DICOM images are imported into, or `new`; empty: they aren't."""

    # The computing
    scratch: Literal["nvme", "fsx-scratch", "fsx-persistent"] = "nvme"
    """Where a GPU job reads prepared scans: the instance's own disk, or FSx for Lustre in front of the prepared bucket.
    Only the persistent kind can be encrypted with a key of the site's own."""
    fsx_gib: Annotated[int, Field(ge=1200)] = 1200
    worker_architecture: Literal["x86_64", "arm64"] = "x86_64"
    max_decompression_workers: Count
    max_reconstruction_jobs: Count
    """GPU jobs at once in ordinary times; times `surge`, the cap on what the service spends an hour."""
    surge: Annotated[int, Field(ge=1, le=10)] = 2
    """How many times both may be exceeded while the queue would take longer than ten minutes; 1: never."""
    warm_budget_usd_a_day: Annotated[float, Field(ge=0)] = 0
    """For a GPU that is kept warm in the busiest hours of the day, as the weeks before had them; 0: none is."""
    warm_gpus: Annotated[int, Field(ge=0)] = 0
    """GPU instances that are kept running in the warm hours, scans or none."""
    warm_days: Annotated[str, Field(pattern=r"^[A-Z]{3}([-,][A-Z]{3})*$")] = "MON-FRI"
    warm_from: Annotated[int, Field(ge=0, le=23)] = 7
    warm_until: Annotated[int, Field(ge=1, le=23)] = 18
    time_zone: str = "UTC"

    # The network
    egress: Literal["nat", "endpoints", "vpc"]
    """How private subnets reach AWS: a NAT gateway, interface endpoints and no route to the internet at all, or, in a
    VPC of the site's own, the ways that it has."""
    zones: Annotated[Annotated[int, Field(ge=1, le=values.MOST_ZONES)] | tuple[str, ...], BeforeValidator(values.zones)]
    """Availability zones of the network, how many or which. GPU instances and FSx stand in the first one."""
    vpc_cidr: Annotated[IPv4Network, AfterValidator(values.network)] = IPv4Network("10.0.0.0/16")
    """The network's addresses."""
    vpc_id: Annotated[str, Field(pattern=r"^(vpc-([0-9a-f]{8}|[0-9a-f]{17}))?$")] = ""
    """A VPC of the site's own, in which the service is to stand; empty: one is made."""
    vpc_subnets: Annotated[tuple[SubnetId, ...], Listed] = ()
    """Its private subnets for the service, one of each zone."""

    # Running it
    operators: Annotated[tuple[OperatorArn, ...], Listed] = ()
    """ARNs of the roles and users that may take on the operator's role; empty: there is none."""
    alarm_email: Annotated[str, Field(pattern=r"^([^@\s]+@[^@\s]+)?$")] = ""
    monthly_budget_usd: Annotated[int, Field(ge=0)] = 0
    """A mail is sent at 80 % of it and when it is forecast to be exceeded; 0: no budget."""
    gpu_canary: bool = False
    """Whether a deployment is followed by a check on a GPU instance too, which takes a quota and some cents."""
    catalogue: bool = False
    """Whether the catalogue of all images is a database for Athena."""
    catalogue_limit_gb: Annotated[int, Field(ge=1, le=10_000)] = 10
    """GB that one question to it may read; Athena ends one that reads more."""
    catalogue_compaction_h: Annotated[int, Field(ge=0, le=72)] = 24
    """Hours from one compaction of it to the next; 0: none runs by itself."""
    researchers: Annotated[tuple[OperatorArn, ...], Listed] = ()
    """ARNs of the roles and users that may take on the role which reads it, and prepared scans, but never raw ones."""
    development: bool = False
    """Whether there are a notebook, image repositories and a build for the development of new networks."""
    notebook_gpu: bool = False
    """Whether the notebook has a GPU, for which SageMaker has a quota of its own."""

    @property
    def surge_workers(self) -> int:
        """Decompression workers that there may be while the queue is long."""
        return self.max_decompression_workers * self.surge

    @property
    def surge_jobs(self) -> int:
        """GPU jobs that there may be while the queue is long, an instance each: the most that ever run."""
        return self.max_reconstruction_jobs * self.surge

    @property
    def on_demand_gpus(self) -> int:
        """Of `surge_jobs`, those that may be had on demand: the smaller half, and the one where there is but one.

        Each market is a compute environment with a limit of its own, and the limits together are what may run.
        """
        return max(1, (self.surge_jobs - self.warm_gpus) // 2)

    @property
    def spot_gpus(self) -> int:
        """Of `surge_jobs`, those that may be had on spot, which is tried first."""
        return self.surge_jobs - self.warm_gpus - self.on_demand_gpus

    @property
    def n_zones(self) -> int:
        """How many availability zones the network has."""
        return self.zones if isinstance(self.zones, int) else len(self.zones)

    @property
    def named_zones(self) -> tuple[str, ...]:
        """Names or ids of the zones, where the site has named them."""
        return () if isinstance(self.zones, int) else self.zones

    @property
    def private_prefix(self) -> int:
        """Length of the prefix of a private subnet: there is room for three, and for the NAT gateway's own."""
        return max(20, self.vpc_cidr.prefixlen + 2)

    @property
    def archive(self) -> Destination | None:
        """The picture archive, if results are sent to one."""
        return Destination.parse(self.pacs) if self.pacs else None

    @property
    def trusted_certificates(self) -> str | None:
        """What the file of `pacs_trusted` holds."""
        return Path(self.pacs_trusted).read_text(encoding="ascii") if self.pacs_trusted else None

    @property
    def compacts(self) -> bool:
        """Whether the catalogue's rows are taken into its files by themselves."""
        return self.catalogue and self.catalogue_compaction_h > 0

    @property
    def has_gateway(self) -> bool:
        """Whether there is a share."""
        return bool(self.gateway_arn) or self.gateway_on_ec2

    @model_validator(mode="after")
    def _network_fits(self) -> "Deployment":
        if self.vpc_id:
            self._check_own_vpc()
            return self
        if self.vpc_subnets:
            raise ValueError(f"{PREFIX}vpc_subnets are subnets of a VPC, which {PREFIX}vpc_id has to name")
        if self.egress == "vpc":
            raise ValueError(f"{PREFIX}egress is vpc, the ways of a VPC of your own, which {PREFIX}vpc_id has to name")
        if isinstance(self.zones, int) and self.zones > MOST_COUNTED_ZONES:
            raise ValueError(
                f"{PREFIX}zones is {self.zones}; the stacks are tied to no region, and CloudFormation counts "
                f"{MOST_COUNTED_ZONES} zones for such: name them, as us-east-1a,us-east-1b,us-east-1c"
            )
        if inside := [str(one) for one in self.share_clients if one.version == 4 and one.overlaps(self.vpc_cidr)]:
            raise ValueError(
                f"{PREFIX}share_clients has {', '.join(inside)}, which overlaps the network of the deployment's own "
                f"({self.vpc_cidr}), so that no answer would find its way back: set {PREFIX}vpc_cidr to a network that "
                "the site doesn't use, or name the clients more narrowly"
            )
        there = 2 ** (32 - self.private_prefix) - RESERVED_ADDRESSES
        if there < (needed := self.surge_workers + self.surge_jobs + OTHER_ADDRESSES):
            raise ValueError(
                f"{PREFIX}vpc_cidr is {self.vpc_cidr}: a subnet of it has {there} addresses, and at its busiest the "
                f"service takes {needed}"
            )
        return self

    def _check_own_vpc(self) -> None:
        if not self.vpc_subnets:
            raise ValueError(f"{PREFIX}vpc_id names a VPC, and {PREFIX}vpc_subnets has to name its private subnets")
        if self.egress == "nat":
            raise ValueError(
                f"{PREFIX}egress is nat; nothing is added to the routes of a VPC of your own: vpc, for the ways that "
                "it has, or endpoints is needed"
            )
        if "vpc_cidr" in self.model_fields_set:
            raise ValueError(f"{PREFIX}vpc_cidr is of no use with {PREFIX}vpc_id, whose network is there already")
        if len(set(self.vpc_subnets)) < len(self.vpc_subnets) or self.n_zones != len(self.vpc_subnets):
            raise ValueError(
                f"{PREFIX}vpc_subnets has {len(self.vpc_subnets)} subnets and {PREFIX}zones {self.n_zones} zones; one "
                "subnet of each zone is needed, in the same order"
            )

    @model_validator(mode="after")
    def _guests_are_fenced(self) -> "Deployment":
        guests = self.share_protocol == "smb" and self.smb_authentication == "guest"
        if self.gateway_arn and guests and not self.smb_guests_from_anywhere:
            raise ValueError(
                f"{PREFIX}smb_authentication is guest, and an SMB share of a gateway on site knows no client networks "
                f"({PREFIX}share_clients has no effect): whoever reaches it and has the one password reads and writes "
                f"scans. Take active-directory, or fence the gateway off and say so by {PREFIX}smb_guests_from_anywhere"
            )
        return self

    @model_validator(mode="after")
    def _fit_together(self) -> "Deployment":
        if self.gateway_arn and self.gateway_on_ec2:
            raise ValueError(
                f"{PREFIX}gateway_arn names a gateway, and {PREFIX}gateway_on_ec2 asks for another; one is needed"
            )
        if self.has_gateway and self.share_protocol == "nfs" and not self.share_clients:
            raise ValueError(
                f"{PREFIX}share_clients is empty, and the share would be open to every host that reaches the gateway; "
                "name the networks that may mount it, as 10.1.0.0/16,10.2.3.4/32"
            )
        if self.scratch != "nvme" and self.fsx_gib != 1200 and self.fsx_gib % 2400:
            raise ValueError(
                f"{PREFIX}fsx_gib is {self.fsx_gib}; FSx for Lustre comes in 1200 or a multiple of 2400 GiB"
            )
        if self.pacs_trusted and not self.pacs_tls:
            raise ValueError(f"{PREFIX}pacs_trusted names certificates, which {PREFIX}pacs_tls has to ask for")
        if self.pacs_certificate and not self.pacs_tls:
            raise ValueError(f"{PREFIX}pacs_certificate is shown by TLS alone, which {PREFIX}pacs_tls has to ask for")
        if self.pacs_tls and not self.pacs:
            raise ValueError(f"{PREFIX}pacs_tls is of no use without {PREFIX}pacs, the archive's AETITLE@HOST:PORT")
        if self.researchers and not self.catalogue:
            raise ValueError(
                f"{PREFIX}researchers are readers of the catalogue, which {PREFIX}catalogue has to ask for"
            )
        return self

    @model_validator(mode="after")
    def _warm_gpus_fit(self) -> "Deployment":
        if self.warm_until <= self.warm_from:
            raise ValueError(f"{PREFIX}warm_until is {self.warm_until}; it has to be later than {PREFIX}warm_from")
        if self.warm_gpus > self.max_reconstruction_jobs:
            raise ValueError(f"{PREFIX}warm_gpus is {self.warm_gpus}, more than {PREFIX}max_reconstruction_jobs allows")
        if self.warm_gpus >= self.surge_jobs:
            raise ValueError(
                f"{PREFIX}warm_gpus is {self.warm_gpus}, all that there may be; outside the warm hours there would be "
                f"none: raise {PREFIX}max_reconstruction_jobs or {PREFIX}surge"
            )
        return self

    @model_validator(mode="after")
    def _data_stay(self) -> "Deployment":
        """In the account, and in the backup's vaults."""
        if self.development and self.egress == "nat":
            raise ValueError(
                f"{PREFIX}development is on and {PREFIX}egress nat; the notebook, reading prepared scans, would have "
                f"a way to the internet: set {PREFIX}egress to endpoints"
            )
        if (self.backup == CROSS_REGION) != bool(self.backup_copy_to):
            raise ValueError(
                f"{PREFIX}backup is {self.backup} and {PREFIX}backup_copy_to {self.backup_copy_to or 'empty'}; "
                "cross-region and the ARN of a vault in another region belong together"
            )
        return self

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> "Deployment":
        """Reads and checks the settings: what the profile says, and over it what the context says.

        An empty text stands for a setting that isn't set, so that cdk.json can show what there is.

        Raises:
            SettingsError: a setting is missing, unknown or out of range; the message names it as it stands in cdk.json.
        """
        own = {
            key.removeprefix(PREFIX): value for key, value in context.items() if key.startswith(PREFIX) and value != ""
        }
        profile = own.get("profile", "minimal")
        if profile not in PROFILES:
            raise SettingsError(f"{PREFIX}profile is {profile!r}; one of {', '.join(PROFILES)} is needed")
        of_profile = dict(PROFILES[profile])
        if own.get("vpc_id"):  # whose ways and zones are not the profile's to say
            of_profile |= {"egress": "vpc", "zones": max(1, len(values.listed_of(own.get("vpc_subnets", ()))))}
        try:
            return cls.model_validate({**of_profile, **own})
        except ValidationError as error:
            raise SettingsError("; ".join(_sentence(problem) for problem in error.errors())) from None


def _sentence(problem: Mapping[str, Any]) -> str:
    """One of pydantic's findings with the setting's name as the user knows it."""
    if not problem["loc"]:
        return str(problem["ctx"]["error"])
    name = PREFIX + str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"{name} is no setting; those that there are stand in infra/README.md"
    if problem["type"] == "value_error":
        return f"{name} is {problem['input']!r}; {problem['ctx']['error']}"
    return f"{name} is {problem['input']!r}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"
