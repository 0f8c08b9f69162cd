"""`cost.json` of a result: what computing this one scan costs on AWS, by its own seconds and the deployment's prices.

List prices of the day of deployment, before tax and discounts. Not in it is what scans share or what comes later: the
boot of an instance, time in which a worker or a GPU waits, storage, the share, the network. `raki cost` estimates these
for a month.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA = "raki.cost/1"
NOT_COUNTED = "boot and idle time of instances, storage, requests, the share, the network, tax and discounts"


@dataclass(frozen=True, kw_only=True)
class HourlyPrices:
    """US dollars an hour, as the deployment was told them."""

    region: str
    """Whose prices they are."""
    read: str
    """When the oldest of them was read: a month, or a day."""
    worker: float
    """A decompression task."""
    gpus: Mapping[str, float]
    """Model of a GPU, a word of the name that it gives itself -> the instance that has it, on demand."""
    spot_factor: float
    """Spot price over that on demand."""

    @classmethod
    def from_json(cls, text: str) -> "HourlyPrices":
        """Prices as the deployment put them into the environment."""
        return cls(**json.loads(text))

    def of(self, gpu: str | None) -> float | None:
        """The hour of an instance with a GPU of this name; None where that is none of the deployment's."""
        found = [price for model, price in self.gpus.items() if model in (gpu or "").split()]
        return found[0] if found else None


def scan_cost(
    prices: HourlyPrices, *, worker_s: float | None, gpu_s: float, gpu: str | None, scan_id: str
) -> dict[str, Any] | None:
    """The content of `cost.json`; None where the job doesn't run on an instance of known price, as in a local cloud.

    Args:
        worker_s: seconds in which a worker had the scan; None where nobody noted them.
        gpu_s: seconds of its reconstruction.
        gpu: the name that the job's GPU gives itself.
    """
    hour = prices.of(gpu)
    if hour is None:
        return None
    worker = None if worker_s is None else worker_s / 3600 * prices.worker
    spot, on_demand = (gpu_s / 3600 * hour * factor for factor in (prices.spot_factor, 1.0))
    return {
        "schema": SCHEMA,
        "scan_id": scan_id,
        "currency": "USD",
        "seconds": {"decompress": _rounded(worker_s, 3), "gpu": round(gpu_s, 3)},
        "decompress": _rounded(worker, 6),
        "gpu_spot": round(spot, 6),
        "gpu_on_demand": round(on_demand, 6),
        "total_with_spot": round(spot + (worker or 0.0), 6),
        "total_on_demand": round(on_demand + (worker or 0.0), 6),
        "gpu": gpu,
        "prices": {"region": prices.region, "read": prices.read},
        "not_counted": NOT_COUNTED,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
