"""Prices of AWS as the formulas take them; `price_list` reads them."""

from dataclasses import dataclass


class PricesError(ValueError):
    """A file of prices can't be used; the message is one sentence that says what to change in it."""


@dataclass(frozen=True, kw_only=True)
class Prices:
    """The bare numbers that the formulas take. Units and sources stand beside them in prices.toml."""

    fargate_x86_vcpu_hour: float
    fargate_x86_gb_hour: float
    fargate_arm_vcpu_hour: float
    fargate_arm_gb_hour: float
    fargate_disk_gb_hour: float
    fargate_disk_free_gb: float
    g4dn_xlarge_hour: float
    g5_xlarge_hour: float
    g6_xlarge_hour: float
    spot_factor: float
    fsx_scratch_gb_month: float
    fsx_persistent_gb_month: float
    s3_standard_gb_month: float
    s3_tiering_gb_month: float
    s3_tiering_thousand_month: float
    s3_put_thousand: float
    s3_get_thousand: float
    deep_archive_gb_month: float
    deep_archive_transition_thousand: float
    deep_archive_restore_gb: float
    deep_archive_bulk_restore_gb: float
    healthimaging_gb_month: float
    healthimaging_archive_gb_month: float
    healthimaging_least_mb: float
    backup_gb_month: float
    backup_copied_gb: float
    gateway_gb: float
    gateway_free_gb: float
    gateway_most_month: float
    gateway_instance_hour: float
    gateway_disk_gb_month: float
    egress_gb: float
    egress_free_gb: float
    endpoint_zone_hour: float
    endpoint_gb: float
    nat_hour: float
    nat_gb: float
    public_address_hour: float
    athena_tb: float
    key_month: float
    secret_month: float
    metric_month: float
    alarm_month: float
    dashboard_month: float
    logs_gb: float
