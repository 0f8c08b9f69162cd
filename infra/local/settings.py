"""What a local cloud is told: where it lives, and how fast its clock runs."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """Where the local cloud lives and how fast its clock runs."""

    share: Path
    """The network share; each file share is a folder below it, by its name."""
    work: Path
    """Scratch: the code of Lambdas, the folders of containers, logs/, events.log."""
    assembly: Path
    """The synthesised application, cdk.out."""
    speed: float = 20.0
    """How many times faster than the templates' minutes schedules, batching windows, the visibility timeouts of queues
    (never below 15 s) and the least time between two refreshes run. Timeouts of Lambdas, jobs and tasks are real."""
    port: int = 0
    """0 takes a free one."""
    n_gpus: int = 1
    """How many jobs that ask for a GPU run at the same time."""

    nuisances: bool = True
    """Whether AWS's rarer ways come often: a file on the share becomes two versions, and S3's notices come late, twice
    and out of order."""

    def __post_init__(self) -> None:
        if self.speed <= 0:
            raise ValueError(f"speed is {self.speed}; how many times faster than real time must be above 0")
