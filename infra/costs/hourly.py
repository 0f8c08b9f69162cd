"""What an hour of the service's machines costs, as jobs are told it: each scan's `cost.json` is reckoned by that."""

import json

from infra.costs import formulas
from infra.costs.estimate import WORKER
from infra.costs.formulas import Task
from infra.costs.price_list import read_prices
from infra.deployment import Deployment

MINUTES = 60


def hourly_prices(deployment: Deployment) -> str:
    """US dollars an hour, in JSON: what `raki.service.cost.HourlyPrices` reads.

    GPUs are known to a job by their model alone: each of our kinds of instances has another one.
    """
    price_list = read_prices()
    prices = price_list.numbers
    worker = formulas.fargate(Task(**WORKER, architecture=deployment.worker_architecture), MINUTES, prices)
    told = {
        "region": price_list.region,
        "read": price_list.read,
        "worker": round(worker, 6),
        "gpus": {"L4": prices.g6_xlarge_hour, "A10G": prices.g5_xlarge_hour, "T4": prices.g4dn_xlarge_hour},
        "spot_factor": prices.spot_factor,
    }
    return json.dumps(told)
