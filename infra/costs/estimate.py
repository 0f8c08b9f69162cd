"""What a month of scans costs under one deployment: parts by the scan, parts by the month, and both together."""

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, replace

from infra.costs import formulas
from infra.costs.course import Course
from infra.costs.fixed import FixedCost, fixed_cost, warm_gpu_hours
from infra.costs.formulas import Machine, Minutes, Task
from infra.costs.prices import Prices
from infra.deployment import CROSS_REGION, OFF, Deployment
from infra.gpus import INSTANCE_TYPES as INSTANCES
from infra.gpus import max_vcpus, most_instances

WORKER = {"vcpus": 2, "memory_gb": 8, "disk_gb": 200}
"""What the decompression task asks for."""
REPLACED_RAW_DAYS = 1
"""After a day the version of a raw scan that another has replaced is archived; a test compares it with the template."""
RESULT_OBJECTS = 10
"""Image in three formats, preview, report, provenance, rows of the catalogue, maps and manifest."""
GPU_DISK_GB = 100
"""Root volume of a GPU instance; a test compares it with the template."""
WORKER_START_MINUTES = 0.75
"""From ECS's order to the first message, the pull of the image among it: an assumption, half a minute to one."""
WORKER_STAYS_MINUTES = 1.5
"""What a worker without a scan is left: two polls of the scaling Lambda, of which the first comes within a minute."""
START_COST_MINUTES, PATIENT_MINUTES, IMPATIENT_MINUTES = 7.5, 10, 1 / 3
"""How long a job without a scan waits for one, and by what that is decided: those of `raki.service.fleet`; a test
compares them."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The scans of a month, and how long each takes."""

    scans_per_day: int
    days_per_month: float
    course: Course
    """When the scans of a day come."""
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
    """Of a worker's work."""
    run_minutes: float
    """On the GPU."""
    boot_minutes: float
    """From an instance's first paid second to the first scan on it: boot, pull of the image, start of the program."""
    idle_minutes: float
    """From the end of its last job until Batch ends an instance, which are paid."""
    scans_per_boot: float | None
    """How many scans share one boot; None: as many as come while the instance is there."""
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
    """As far as no warm one has the time: on spot instances, and on demand where there are more than may be on spot."""
    prepared: float
    raw: float
    results: float
    gateway: float
    egress: float
    requests: float
    healthimaging: float
    backup: float
    """The raw scan while it is in S3 and as long as its last backup after that, and the first month of its results."""

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
    gpu_minutes: Minutes
    """Of a scan that no warm instance has the time for."""
    on_demand_share: float
    """The part of these that is had on demand, since no more instances may be on spot."""
    on_demand_gpu: float
    """What stands in place of `scan.gpu` when no spot instance is to be had, USD a scan."""
    archive_month: float
    """Keeping one raw scan in the archive, USD a month."""
    results_month: float
    """Keeping one scan's results, USD a month."""
    healthimaging_month: float
    """Keeping one scan's images in HealthImaging, as an archive, USD a month."""
    backup_month: float
    """Keeping one scan's results in the vault, USD a month."""
    fixed: FixedCost
    gpu_hours_needed: float
    """A day."""
    gpu_hours_there: float
    """A day: as many GPU jobs as the deployment allows in ordinary times, day and night."""
    most_gpus: int
    """How many GPU instances ever run at once, whatever types Batch picks."""
    most_hour: float
    """USD for an hour in which all machines run that there may be, the GPUs of the dearest kind and none on spot."""

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
        return self.scans * (self.archive_month + self.results_month + self.healthimaging_month + self.backup_month)


def estimate(deployment: Deployment, workload: Workload, prices: Prices) -> Estimate:
    """Puts the parts together."""
    gpu_hour = _gpu_hour(workload.instance, prices)
    disk_hour = formulas.disk(GPU_DISK_GB, prices)
    share = on_demand_share(deployment, workload)
    market_hour = gpu_hour * (share + (1 - share) * prices.spot_factor)
    standard = prices.s3_standard_gb_month
    raw_gb = workload.raw_gb * workload.raw_versions
    results_month = formulas.tiered(workload.results_gb, RESULT_OBJECTS, 1, prices)
    return Estimate(
        profile=deployment.profile,
        scans=workload.scans,
        scan=ScanCost(
            decompression=formulas.fargate(
                Task(**WORKER, architecture=deployment.worker_architecture),
                worker_minutes(deployment, workload).total,
                prices,
            ),
            gpu=gpu_cost(
                deployment,
                workload,
                market_hour + disk_hour,
                retry_rate=workload.retry_rate if deployment.spot_gpus else 0,
            ),
            prepared=formulas.stored(workload.prepared_gb, workload.prepared_days, standard),
            raw=formulas.stored(workload.raw_gb, deployment.archive_after_days, standard)
            + formulas.stored(raw_gb - workload.raw_gb, REPLACED_RAW_DAYS, standard),
            results=results_month,
            gateway=formulas.gateway(workload.raw_gb * workload.scans, prices) / workload.scans,
            egress=formulas.egress(workload.results_gb * workload.scans, prices) / workload.scans,
            requests=_requests(workload, prices),
            healthimaging=formulas.image_set(workload.imported_gb, prices.healthimaging_gb_month, prices),
            backup=_backup(deployment, raw_gb, workload.results_gb, prices),
        ),
        gpu_minutes=gpu_minutes(deployment, workload),
        on_demand_share=share,
        on_demand_gpu=gpu_cost(deployment, workload, gpu_hour + disk_hour),
        archive_month=formulas.archived(raw_gb, 1, prices),
        results_month=results_month,
        healthimaging_month=formulas.image_set(workload.imported_gb, prices.healthimaging_archive_gb_month, prices),
        backup_month=_backup(deployment, 0, workload.results_gb, replace(prices, backup_copied_gb=0)),
        fixed=fixed_cost(deployment, prices, gpu_hour=gpu_hour + disk_hour),
        gpu_hours_needed=workload.scans_per_day * workload.run_minutes / 60,
        gpu_hours_there=deployment.max_reconstruction_jobs * 24.0,
        most_gpus=most_gpus(deployment),
        most_hour=_most_hour(deployment, prices),
    )


def _backup(deployment: Deployment, raw_gb: float, results_gb: float, prices: Prices) -> float:
    """USD for a scan in the vault: its raw versions for as long as they are there, its results for a month."""
    if deployment.backup == OFF:
        return 0
    elsewhere = deployment.backup == CROSS_REGION
    days = deployment.archive_after_days + deployment.backup_days
    return formulas.backed_up(raw_gb, days, prices, elsewhere=elsewhere) + formulas.backed_up(
        results_gb, formulas.DAYS_PER_MONTH, prices, elsewhere=elsewhere
    )


def gpu_cost(deployment: Deployment, workload: Workload, hourly: float, *, retry_rate: float = 0) -> float:
    """USD a scan for GPUs that are started for scans; those that warm ones have the time for cost nothing more.

    The warm ones take scans one after another all through their hours, which is the best that they can do.
    """
    in_warm_hours = warm_gpu_hours(deployment) * 60 / workload.run_minutes
    others = max(0.0, workload.scans - in_warm_hours) / workload.scans
    minutes = gpu_minutes(deployment, workload).total
    return others * formulas.instance(minutes, hourly, retry_rate=retry_rate)


def gpu_minutes(deployment: Deployment, workload: Workload) -> Minutes:
    """What is paid of a GPU instance for a scan."""
    return _together((part.share, part.minutes) for part in _gpu_parts(deployment, workload))


def on_demand_share(deployment: Deployment, workload: Workload) -> float:
    """Of these minutes, the part on demand: spot instances are tried first, and there may be only so many of them."""
    markets = deployment.spot_gpus + deployment.on_demand_gpus
    parts = list(_gpu_parts(deployment, workload))
    beyond = sum(
        part.share
        * part.minutes.total
        * formulas.beyond(deployment.spot_gpus, mean=part.per_minute * part.minutes.total + part.at_once, most=markets)
        for part in parts
    )
    return beyond / sum(part.share * part.minutes.total for part in parts)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Scans of a part of the day that are alike."""

    share: float
    """Of the day's scans."""
    per_minute: float
    """All scans that come meanwhile."""
    minutes: Minutes
    at_once: float = 0
    """How many come in a burst, beside what is there."""


def _gpu_parts(deployment: Deployment, workload: Workload) -> Iterator[_Part]:
    course = workload.course
    for share, rate in course.rates(workload.scans_per_day):
        if workload.scans_per_boot is not None:
            idle = (IMPATIENT_MINUTES + workload.idle_minutes) / workload.scans_per_boot
            start = workload.boot_minutes / workload.scans_per_boot
            yield _Part(
                share=share, per_minute=rate, minutes=Minutes(work=workload.run_minutes, start=start, idle=idle)
            )
            continue
        machine = _gpu(deployment, workload, rate)
        if not machine.has_several:
            minutes = formulas.minutes_a_scan(machine, per_minute=rate, at_once=course.at_once)
            yield _Part(share=share, per_minute=rate, minutes=minutes)
            continue
        alone = 1 - course.in_bursts
        minutes = formulas.minutes_a_scan(machine, per_minute=alone * rate)
        yield _Part(share=share * alone, per_minute=rate, minutes=minutes)
        if course.in_bursts:
            minutes = formulas.minutes_in_a_burst(machine, burst=course.burst)
            yield _Part(share=share * course.in_bursts, per_minute=rate, minutes=minutes, at_once=course.burst)


def _gpu(deployment: Deployment, workload: Workload, per_minute: float) -> Machine:
    """A job waits for another scan as long as the dispatcher tells it to: of those that are there all day, for long."""
    machine = Machine(
        work=workload.run_minutes,
        start=workload.boot_minutes,
        stays=IMPATIENT_MINUTES + workload.idle_minutes,
        most=deployment.surge_jobs,
    )
    if machine.has_several or per_minute * START_COST_MINUTES <= 1:
        return machine
    return replace(machine, stays=PATIENT_MINUTES + workload.idle_minutes)


def worker_minutes(deployment: Deployment, workload: Workload) -> Minutes:
    """What is paid of a decompression worker for a scan."""
    worker = Machine(
        work=workload.decompress_minutes,
        start=WORKER_START_MINUTES,
        stays=WORKER_STAYS_MINUTES,
        most=deployment.surge_workers,
    )
    at_once = workload.course.at_once
    return _together(
        (share, formulas.minutes_a_scan(worker, per_minute=rate, at_once=at_once))
        for share, rate in workload.course.rates(workload.scans_per_day)
    )


def _together(parts: Iterable[tuple[float, Minutes]]) -> Minutes:
    """The mean over the day's scans."""
    sums = [sum(each) for each in zip(*([share * one for one in astuple(part)] for share, part in parts), strict=True)]
    return Minutes(work=sums[0], start=sums[1], idle=sums[2])


def most_gpus(deployment: Deployment) -> int:
    """How many GPU instances the limits of the compute environments let run, all of them together."""
    shares = (deployment.warm_gpus, deployment.spot_gpus, deployment.on_demand_gpus)
    return sum(most_instances(max_vcpus(share)) for share in shares)


def _most_hour(deployment: Deployment, prices: Prices) -> float:
    dearest = max(_gpu_hour(name, prices) for name in INSTANCES) + formulas.disk(GPU_DISK_GB, prices)
    worker = formulas.fargate(Task(**WORKER, architecture=deployment.worker_architecture), 60, prices)
    return most_gpus(deployment) * dearest + deployment.surge_workers * worker


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
