"""What a month of scans costs under one deployment: parts by the scan, parts by the month, and both together."""

from dataclasses import astuple, dataclass

from infra.costs import formulas
from infra.costs.fixed import FixedCost, fixed_cost, warm_gpu_hours
from infra.costs.formulas import Task
from infra.costs.prices import Prices
from infra.deployment import Deployment

WORKER = {"vcpus": 2, "memory_gb": 8, "disk_gb": 200}
"""What the decompression task asks for."""
REPLACED_RAW_DAYS = 1
"""After a day the version of a raw scan that another has replaced is archived; a test compares it with the template."""
RESULT_OBJECTS = 10
"""Image in three formats, preview, report, provenance, rows of the catalogue, maps and manifest."""
MOST_PER_BOOT = 8.0
"""Scans; cautious: `python -m benchmarks scaling` has 6 at 200 scans a day and 47 at 2,000."""
INSTANCES = ("g6.xlarge", "g5.xlarge", "g4dn.xlarge")


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The scans of a month, and how long each takes."""

    scans_per_day: int
    days_per_month: float
    hours_per_day: float
    """In which the scans of a day come, evenly."""
    raw_gb: float
    """A scan as the scanner wrote it."""
    raw_versions: int
    """Copies of it that S3 keeps: a gateway writes a file twice, once with its data, once with its owner and times."""
    prepared_gb: float
    """Its k-space after decompression."""
    prepared_days: float
    """For how long the prepared bucket keeps it."""
    results_gb: float
    imported_gb: float
    """DICOM images that are imported into HealthImaging; 0: none are."""
    decompress_minutes: float
    run_minutes: float
    """On the GPU."""
    boot_minutes: float
    """From the request for an instance to the first scan on it."""
    scans_per_boot: float | None
    """How many scans share one boot; None: as many as come meanwhile."""
    retry_rate: float
    """Runs a scan that are lost with a spot instance, and repeated."""
    instance: str

    @property
    def scans(self) -> float:
        """Scans a month."""
        return self.scans_per_day * self.days_per_month


@dataclass(frozen=True, kw_only=True)
class ScanCost:
    """US dollars a scan, by part: a month's bill for the part, divided by the month's scans."""

    decompression: float
    gpu: float
    """On spot instances, as far as no warm one has the time."""
    prepared: float
    raw: float
    results: float
    gateway: float
    egress: float
    requests: float
    healthimaging: float

    @property
    def total(self) -> float:
        """All parts together."""
        return float(sum(astuple(self)))


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one deployment costs with one workload."""

    profile: str
    scans: float
    scan: ScanCost
    on_demand_gpu: float
    """What stands in place of `scan.gpu` when no spot instance is to be had, USD a scan."""
    archive_month: float
    """Keeping one raw scan in the archive, USD a month."""
    results_month: float
    """Keeping one scan's results, USD a month."""
    healthimaging_month: float
    """Keeping one scan's images in HealthImaging, as an archive, USD a month."""
    fixed: FixedCost
    gpu_hours_needed: float
    """A day."""
    gpu_hours_there: float
    """A day: as many GPU jobs as the deployment allows, day and night."""

    @property
    def month(self) -> float:
        """USD for a month of scans."""
        return self.scans * self.scan.total + self.fixed.total

    @property
    def on_demand_month(self) -> float:
        """USD for a month of scans without spot instances."""
        return self.month + self.scans * (self.on_demand_gpu - self.scan.gpu)

    @property
    def growth(self) -> float:
        """USD that the scans of a month add to the bill of each later month, for what is kept for good."""
        return self.scans * (self.archive_month + self.results_month + self.healthimaging_month)


def estimate(deployment: Deployment, workload: Workload, prices: Prices) -> Estimate:
    """Puts the parts together."""
    gpu_hour = _gpu_hour(workload.instance, prices)
    standard = prices.s3_standard_gb_month
    raw_gb = workload.raw_gb * workload.raw_versions
    results_month = formulas.tiered(workload.results_gb, RESULT_OBJECTS, 1, prices)
    return Estimate(
        profile=deployment.profile,
        scans=workload.scans,
        scan=ScanCost(
            decompression=formulas.fargate(
                Task(**WORKER, architecture=deployment.worker_architecture), workload.decompress_minutes, prices
            ),
            gpu=gpu_cost(deployment, workload, gpu_hour * prices.spot_factor, retry_rate=workload.retry_rate),
            prepared=formulas.stored(workload.prepared_gb, workload.prepared_days, standard),
            raw=formulas.stored(workload.raw_gb, deployment.archive_after_days, standard)
            + formulas.stored(raw_gb - workload.raw_gb, REPLACED_RAW_DAYS, standard),
            results=results_month,
            gateway=formulas.gateway(workload.raw_gb * workload.scans, prices) / workload.scans,
            egress=formulas.egress(workload.results_gb * workload.scans, prices) / workload.scans,
            requests=_requests(workload, prices),
            healthimaging=formulas.image_set(workload.imported_gb, prices.healthimaging_gb_month, prices),
        ),
        on_demand_gpu=gpu_cost(deployment, workload, gpu_hour),
        archive_month=formulas.archived(raw_gb, 1, prices),
        results_month=results_month,
        healthimaging_month=formulas.image_set(workload.imported_gb, prices.healthimaging_archive_gb_month, prices),
        fixed=fixed_cost(deployment, prices, gpu_hour=gpu_hour),
        gpu_hours_needed=workload.scans_per_day * workload.run_minutes / 60,
        gpu_hours_there=deployment.max_reconstruction_jobs * 24.0,
    )


def gpu_cost(deployment: Deployment, workload: Workload, hourly: float, *, retry_rate: float = 0) -> float:
    """USD a scan for GPUs that are started for scans; those that warm ones have the time for cost nothing more.

    The warm ones take scans one after another all through their hours, which is the best that they can do.
    """
    in_warm_hours = warm_gpu_hours(deployment) * 60 / workload.run_minutes
    others = max(0.0, workload.scans - in_warm_hours) / workload.scans
    boot_minutes = workload.boot_minutes / scans_sharing_a_boot(workload)
    return others * formulas.instance(workload.run_minutes, boot_minutes, hourly, retry_rate=retry_rate)


def scans_sharing_a_boot(workload: Workload) -> float:
    """How many scans one start of an instance serves.

    A job takes scans until none waits: its own, and what comes while the instance boots and the first one runs. More
    than `MOST_PER_BOOT` are not reckoned with, since for those that wait beyond it another job is submitted.
    """
    if workload.scans_per_boot is not None:
        return workload.scans_per_boot
    per_minute = workload.scans_per_day / (workload.hours_per_day * 60)
    meanwhile = per_minute * (workload.boot_minutes + workload.run_minutes)
    return min(MOST_PER_BOOT, 1 + meanwhile)


def _gpu_hour(instance: str, prices: Prices) -> float:
    return {
        "g6.xlarge": prices.g6_xlarge_hour,
        "g5.xlarge": prices.g5_xlarge_hour,
        "g4dn.xlarge": prices.g4dn_xlarge_hour,
    }[instance]


def _requests(workload: Workload, prices: Prices) -> float:
    """A scan is written and read as raw and as prepared data; its results are written, and read once."""
    moved_gb = workload.raw_gb + workload.prepared_gb + workload.results_gb
    return formulas.requests(
        put_gb=moved_gb,
        get_gb=moved_gb,
        puts=RESULT_OBJECTS + workload.raw_versions - 1,
        transitions=workload.raw_versions,
        prices=prices,
    )
