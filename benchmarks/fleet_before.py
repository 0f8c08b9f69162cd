"""How machines were started and ended before: by counts alone. What there is now is compared with it."""

from math import ceil

from benchmarks.fleet_parts import View


class Before:
    """Two messages a worker, down to none when nobody has been at work for three minutes; `scans_per_job` a GPU job."""

    is_told = False
    keeps_idle_s = 20 * 60.0

    def __init__(self, *, max_workers: int, max_jobs: int, scans_per_job: int = 8) -> None:
        self.most_jobs = max_jobs
        self._max_workers, self._scans_per_job = max_workers, scans_per_job
        self._quiet_polls = 0

    def workers(self, view: View) -> int:
        self._quiet_polls = 0 if view.ingest.total else self._quiet_polls + 1
        needed = min(self._max_workers, ceil(view.ingest.total / 2))
        if needed == 0 and self._quiet_polls >= 3:
            return 0
        return max(needed, view.workers)

    def jobs(self, view: View) -> int:
        return max(0, min(self.most_jobs, ceil(view.reconstruct.total / self._scans_per_job)) - view.jobs)

    def patience_s(self) -> float:
        return 5.0

    def note(self, stage: str, seconds: float) -> None:
        """It learnt nothing."""
