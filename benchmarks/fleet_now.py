"""The decisions as the Lambdas take them, by the same functions; what they read and keep between calls stands here."""

from collections.abc import Sequence

from benchmarks.arrivals import HOUR_S, WEEK_S, Arrival
from benchmarks.fleet import MINUTE_S
from benchmarks.fleet_parts import View
from raki.service import fleet
from raki.service.fleet import Limits, Load
from raki.service.forecast import Forecast, Pace


class Now:
    """Drives `raki.service.fleet`.

    Args:
        is_told: whether the Lambdas run at each arrival too.
        week: arrivals of the week before, of which the forecast learns; time 0 of the simulation is its end.
        keeps_idle_s: how long Batch keeps an instance without a job.
        warm_hours: of the day, in which a GPU may be kept warm.
    """

    def __init__(
        self,
        *,
        max_workers: int,
        max_jobs: int,
        surge: int,
        is_told: bool,
        week: Sequence[Arrival],
        keeps_idle_s: float | None = None,
        warm_hours: int = 0,
    ) -> None:
        self.is_told, self.keeps_idle_s = is_told, keeps_idle_s
        self._workers = Limits(most=max_workers, most_ever=max_workers * surge)
        self._jobs = Limits(most=max_jobs, most_ever=max_jobs * surge)
        self.most_jobs = self._jobs.most_ever
        self._warm_hours = warm_hours
        self._pace = {"decompressing": Pace(), "reconstructing": Pace()}
        self._forecast = learnt(week)
        self._patience_s = fleet.IMPATIENT_S
        self._quiet_polls = 0

    def workers(self, view: View) -> int:
        seconds = self._pace["decompressing"].seconds_a_scan(otherwise=fleet.DECOMPRESS_S)
        # A call that a notice made doesn't count as a poll: at each arrival there is one.
        is_poll = view.now_s % MINUTE_S == 0
        is_quiet = fleet.needed_workers(view.ingest, seconds_a_scan=seconds) < view.workers
        if is_poll:
            self._quiet_polls = self._quiet_polls + 1 if is_quiet else 0
        return fleet.desired_workers(
            view.ingest,
            seconds_a_scan=seconds,
            current=view.workers,
            quiet_polls=self._quiet_polls if is_poll else 0,
            limits=self._workers,
            is_deploying=False,
        )

    def jobs(self, view: View) -> int:
        now_s = float(WEEK_S + view.now_s)
        total = self._pace["decompressing"].n + view.ingest.total
        self._forecast = self._forecast.observed(now_s, total)
        ahead_s = fleet.INSTANCE_START_S
        load = Load(
            seconds_a_scan=self._pace["reconstructing"].seconds_a_scan(otherwise=fleet.RECONSTRUCT_S),
            scans_a_second=self._forecast.scans_a_second(now_s, ahead_s=ahead_s),
        )
        is_warm = self._forecast.is_worth_keeping_warm(now_s, ahead_s=ahead_s, hours_a_day=self._warm_hours)
        n_scans = view.ingest.total + view.reconstruct.total
        submit = fleet.jobs_to_submit(
            n_scans, load=load, unfinished_jobs=view.jobs, is_kept_warm=is_warm, limits=self._jobs
        )
        self._patience_s = fleet.patience_s(load=load, unfinished_jobs=view.jobs + submit, is_kept_warm=is_warm)
        return submit

    def patience_s(self) -> float:
        return self._patience_s

    def note(self, stage: str, seconds: float) -> None:
        done = self._pace[stage]
        self._pace[stage] = Pace(n=done.n + 1, seconds=done.seconds + seconds)


def learnt(week: Sequence[Arrival]) -> Forecast:
    """What is known at the end of a week, from a poll each hour."""
    forecast = Forecast().observed(0.0, 0)
    total, waiting = 0, list(reversed(week))
    for hour in range(1, WEEK_S // HOUR_S + 1):
        while waiting and waiting[-1].at_s < hour * HOUR_S:
            waiting.pop()
            total += 1
        # In the last minute of the hour, so that what came counts for it.
        forecast = forecast.observed(hour * HOUR_S - 1.0, total)
    forecast = forecast.observed(float(WEEK_S), total)
    # Counting goes on from 0: the simulated week has a counter of its own.
    return Forecast(hourly=forecast.hourly, hour=forecast.hour)
