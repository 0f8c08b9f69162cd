"""AWS Batch jobs: the job definition's command as a process, with attempts, a timeout, exit codes and events."""

import fnmatch
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any

from infra.local.deploy.assembly import UnknownImage
from infra.local.journal import Journal, LogStream
from infra.local.moto.state import Model
from infra.local.run.containers import ContainerRequest, Containers, container_mounts, log_stream
from infra.local.run.programs import Program

LOG_GROUP = "/aws/batch/job"
EXITED = "Essential container in task exited"
TIMED_OUT = "Job attempt duration exceeded timeout"
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.05


class Jobs:
    """Runs jobs as moto's queue takes them in; those that need a GPU, one after the other."""

    def __init__(
        self, containers: Containers, state_changed: Callable[[Model], None], journal: Journal, *, n_gpus: int = 1
    ) -> None:
        self._containers = containers
        self._state_changed = state_changed
        self._journal = journal
        self._gpus = threading.Semaphore(n_gpus)
        self._closing = threading.Event()

    def run(self, job: Model) -> None:
        """Runs one of moto's jobs to its end, in the thread that the job is.

        Everything that goes wrong is the job's end as FAILED, with the reason: there is nobody else to tell.
        """
        try:
            if job.depends_on and not job._wait_for_dependencies():
                return
            self._enter(job, "RUNNABLE")
            with self._gpu(job):
                succeeded = self._run_attempts(job)
        except Exception as error:  # noqa: BLE001
            job.job_stopped_reason = _reason_of(error)
            succeeded = False
        if self._closing.is_set():
            return
        job._mark_stopped(success=succeeded)
        outcome = "SUCCEEDED" if succeeded else "FAILED"
        self._journal.note("batch job", f"{job.job_name} {outcome}: {job.job_stopped_reason or 'exit code 0'}")
        self._state_changed(job)

    def close(self) -> None:
        """Lets no further attempt start."""
        self._closing.set()

    def _run_attempts(self, job: Model) -> bool:
        strategy = job.job_definition.retry_strategy or {}
        for attempt in range(1, int(strategy.get("attempts") or 1) + 1):
            if job.stop or self._closing.is_set():
                return False
            self._enter(job, "STARTING")
            program = self._start(job, attempt)
            self._enter(job, "RUNNING")
            timed_out = self._wait(job, program)
            if self._closing.is_set():
                return False
            self._end_attempt(job, attempt, program, TIMED_OUT if timed_out else EXITED)
            if job.exit_code == 0 and not timed_out:
                job.job_stopped_reason = EXITED
                return True
            if timed_out or not wants_retry(strategy.get("evaluateOnExit", []), str(job.exit_code), EXITED):
                return False
        return False

    def _start(self, job: Model, attempt: int) -> Program:
        definition = job.job_definition.container_properties
        overrides = job.container_overrides
        command = job._add_parameters_to_command(overrides.get("command") or definition.get("command") or [])
        environment = _pairs(definition) | _pairs(overrides)
        environment |= {
            "AWS_BATCH_JOB_ID": job.job_id,
            "AWS_BATCH_JOB_ATTEMPT": str(attempt),
            "AWS_BATCH_JQ_NAME": job.job_queue.name,
        }
        log = log_stream(definition, LOG_GROUP, f"default/{job.job_id}-{attempt}")
        job.log_stream_name = log.stream
        job.job_started_at = datetime.now()  # noqa: DTZ005 - moto's own clock
        job._start_attempt()
        return self._containers.start(
            ContainerRequest(
                name=f"batch-{job.job_name}-{job.job_id[:8]}",
                image=definition["image"],
                command=command or None,
                environment=environment,
                mounts=container_mounts(definition, definition.get("volumes", [])),
                log=LogStream(group=log.group, stream=log.stream),
            )
        )

    def _wait(self, job: Model, program: Program) -> bool:
        """Waits for the end, and brings it about where the job is terminated or out of time; the latter is True."""
        seconds = job._get_attempt_duration()
        deadline_s = time.monotonic() + float(seconds) if seconds else float("inf")
        while program.wait(_POLL_S) is None:
            timed_out = time.monotonic() > deadline_s
            if timed_out or job.stop or self._closing.is_set():
                program.stop(_STOP_TIMEOUT_S)
                program.finished.wait(2.0)
                return timed_out
        program.finished.wait(2.0)
        return False

    def _end_attempt(self, job: Model, attempt: int, program: Program, reason: str) -> None:
        job.exit_code = program.exit_code
        job.job_stopped_at = datetime.now()  # noqa: DTZ005 - moto's own clock
        job.latest_attempt["container"]["exitCode"] = job.exit_code
        job.latest_attempt["statusReason"] = reason
        job._stop_attempt()
        # A reason that is there already is that of whoever terminated the job.
        job.job_stopped_reason = job.job_stopped_reason if job.stop else reason
        self._journal.note("batch job", f"{job.job_name} attempt {attempt}: exit code {job.exit_code}, {reason}")

    def _enter(self, job: Model, status: str) -> None:
        job.status = status
        self._state_changed(job)

    def _gpu(self, job: Model) -> AbstractContextManager[None]:
        needed = job.job_definition.container_properties.get("resourceRequirements", [])
        return self._one_gpu(job) if any(item["type"] == "GPU" for item in needed) else nullcontext()

    @contextmanager
    def _one_gpu(self, job: Model) -> Any:
        while not self._gpus.acquire(timeout=_POLL_S):
            if job.stop or self._closing.is_set():
                raise RuntimeError("terminated while it waited for a GPU")
        try:
            yield
        finally:
            self._gpus.release()


def wants_retry(conditions: list[Mapping[str, str]], exit_code: str, status_reason: str) -> bool:
    """Whether a failed attempt is to be followed by another, by the job definition's evaluateOnExit.

    The first entry whose conditions all match decides; without a match, as without entries, Batch tries again. The
    patterns may end in "*". The container's own reason is empty: only a broken instance has one.

    AWS Batch API reference, EvaluateOnExit.
    """
    present = {"onExitCode": exit_code, "onStatusReason": status_reason, "onReason": ""}
    for entry in conditions:
        patterns = [(present[name], pattern) for name, pattern in entry.items() if name in present]
        if all(fnmatch.fnmatchcase(value, pattern) for value, pattern in patterns):
            return entry["action"].upper() == "RETRY"
    return True


def _pairs(properties: Mapping[str, Any]) -> dict[str, str]:
    return {pair["name"]: pair["value"] for pair in properties.get("environment", [])}


def _reason_of(error: Exception) -> str:
    return f"CannotPullContainerError: {error}" if isinstance(error, UnknownImage) else f"{error}"
