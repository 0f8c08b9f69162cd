"""What each Lambda, task and job is told by its environment. Read once, in a handler's module or a container's main."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

Settings = TypeVar("Settings")

# A variable that is empty looks like one that was forgotten, so what there isn't has a word.
_READ: dict[object, Callable[[str], object]] = {
    bool: lambda text: bool(int(text)),
    int: int,
    str: str,
    str | None: lambda text: None if text == "none" else text,
}


@dataclass(frozen=True, kw_only=True)
class DecompressSettings:
    """The decompression worker's environment."""

    deidentify: bool
    """Whether patient, study and institution are taken out of a scan's header before it leaves the worker."""
    gateway_role: str | None
    """The unique id of the role by which a file gateway writes scans; None where there is no gateway."""
    ingest_dead_letters_url: str
    ingest_queue_url: str
    ledger_table: str
    prepared_bucket: str
    reconstruct_queue_url: str
    results_bucket: str
    scan_id_key: str


@dataclass(frozen=True, kw_only=True)
class ReconstructSettings:
    """The reconstruction job's environment."""

    hourly_usd: str
    """What an hour of the machines costs, in JSON; see `raki.service.cost`."""
    ledger_table: str
    models: str | None
    """Where models are, as s3://BUCKET/PREFIX; None where the deployment has none."""
    prepared_folder: str | None
    """Where FSx for Lustre shows the prepared bucket; None where scratch is the instance's own disk."""
    raw_bucket: str
    reconstruct_dead_letters_url: str
    reconstruct_queue_url: str
    results_bucket: str


@dataclass(frozen=True, kw_only=True)
class SendSettings:
    """The sender's environment."""

    ledger_table: str
    memory_mib: int
    """What the task has of it."""
    pacs: str
    """The picture archive: AETITLE@HOST:PORT."""
    pacs_calling: str
    """Our own AE title."""
    pacs_certificate: str | None
    """ARN of the secret that holds our own certificate with its key (PEM), where the archive asks for one."""
    pacs_tls: bool
    pacs_trusted: str | None
    """Certificates (PEM) by which the archive's is checked; None: those that the system trusts."""
    send_dead_letters_url: str
    send_queue_url: str


@dataclass(frozen=True, kw_only=True)
class CompactSettings:
    """The compaction's environment."""

    limit_s: int
    """How long it may take, in seconds."""
    results_bucket: str


@dataclass(frozen=True, kw_only=True)
class ScaleSettings:
    """The environment of the Lambda scale_decompression."""

    cluster: str
    ingest_queue_url: str
    ledger_table: str
    max_workers: int
    service: str
    surge_workers: int
    """How many there may be while the queue is long."""


@dataclass(frozen=True, kw_only=True)
class DispatchSettings:
    """The environment of the Lambda dispatch_reconstruction."""

    ingest_queue_url: str
    instance_vcpus: int
    """Of a GPU instance, which a quota has to have room for."""
    job_definition: str
    job_queue: str
    ledger_table: str
    max_jobs: int
    reconstruct_queue_url: str
    surge_jobs: int
    """How many there may be while the queue is long."""
    warm_hours_a_day: int
    """In which a job may be kept waiting for scans to come."""


@dataclass(frozen=True, kw_only=True)
class RenewSettings:
    """The environment of the Lambda renew_instances."""

    compute_environments: str
    """Their ARNs, with commas between them."""
    ledger_table: str


@dataclass(frozen=True, kw_only=True)
class RefreshSettings:
    """The environment of the Lambda refresh_gateway."""

    ledger_table: str
    refresh_dead_letters_url: str
    refresh_queue_url: str
    refresh_spacing_s: int
    """The least time between two refreshes of one gateway."""
    results_bucket: str
    results_share_arn: str | None
    """ARN of the file share; None where the deployment has no gateway."""


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """The environment of the Lambda import_results."""

    data_access_role_arn: str
    """As whom HealthImaging reads images and writes what it says of them."""
    data_store_id: str
    import_dead_letters_url: str
    import_queue_url: str
    imports_bucket: str
    ledger_table: str
    results_bucket: str


@dataclass(frozen=True, kw_only=True)
class ReconcileSettings:
    """The environment of the Lambda reconcile."""

    data_store_id: str | None
    """The data store of HealthImaging that results are imported into; None: there is none."""
    import_queue_url: str | None
    ingest_queue_url: str
    ledger_table: str
    pacs: str | None
    """The picture archive that results are sent to, as AETITLE@HOST:PORT; None: there is none."""
    raw_bucket: str
    reconstruct_queue_url: str
    refresh_queue_url: str
    results_bucket: str
    send_queue_url: str | None


def from_environment(cls: type[Settings], environment: Mapping[str, str] = os.environ) -> Settings:
    """Fills the fields of `cls` from the variables of the same name in capitals.

    Raises:
        RuntimeError: a variable is missing or isn't of its field's type; the message names it.
    """
    values: dict[str, object] = {}
    for field in fields(cls):  # type: ignore[arg-type]
        name = field.name.upper()
        if name not in environment:
            raise RuntimeError(f"{cls.__name__} needs the environment variable {name}, which is not set")
        try:
            values[field.name] = _READ[field.type](environment[name])
        except ValueError:
            raise RuntimeError(f"{name} is {environment[name]!r}; a whole number is needed") from None
    return cls(**values)
