"""Runs Lambda functions: their deployed code and environment, in warm processes of AWS's own runtime client."""

import hashlib
import io
import json
import threading
import time
import zipfile
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from infra.local.account import program_environment
from infra.local.journal import Journal, LogStream
from infra.local.moto.state import Model
from infra.local.run.containers import isolated_path, python_without_site
from infra.local.run.programs import Program, Programs
from infra.local.run.runtime_api import Answer, RuntimeApi

# Copies of a function that reserves no concurrency of its own.
DEFAULT_CONCURRENCY = 4
_POLL_S = 0.05
# What a function's code may take to be loaded, before its own timeout begins. AWS Lambda developer guide,
# "Understanding the Lambda execution environment lifecycle": "The Init phase is limited to 10 seconds."
_INIT_S = 10.0
# Of a function's variables, those that say how long AWS makes it wait; here AWS is as much faster as all the rest.
_WAITS = ("REFRESH_SPACING_S",)

Variables = dict[str, str]


class Functions:
    """All functions of the server, each with a pool of execution environments."""

    def __init__(self, work: Path, programs: Programs, endpoint: str, journal: Journal, *, speed: float) -> None:
        self._code = work / "functions"
        self._programs = programs
        self._endpoint = endpoint
        self._journal = journal
        self._speed = speed
        self._lock = threading.Lock()
        self._pools: dict[str, Pool] = {}
        self._closed = False

    def invoke(self, function: Model, event: object) -> tuple[bytes, bool]:
        """Runs the function once, and waits for a free environment first if all that it may have are busy.

        Returns:
            The payload, and whether it is an error.
        """
        started_s = time.monotonic()
        answer = self._pool(function).run(event)
        took_s = time.monotonic() - started_s
        if self._closed:
            return answer.payload, answer.failed
        if answer.failed:
            reason = answer.payload.decode(errors="replace")[:300]
            self._journal.note("lambda", f"{function.function_name} failed after {took_s:.2f} s: {reason}")
        elif not _is_scheduled(event):  # of those that come each minute, only failures are news
            self._journal.note("lambda", f"{function.function_name} done in {took_s:.2f} s")
        return answer.payload, answer.failed

    def close(self) -> None:
        """Ends all execution environments."""
        self._closed = True
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()

    def _pool(self, function: Model) -> "Pool":
        """The pool of the function as it is deployed now; an update of code or settings begins a new one."""
        settings = [function.code_sha_256, function.handler, function.environment_vars, function.timeout]
        key = f"{function.function_arn} {json.dumps(settings, sort_keys=True)}"
        with self._lock:
            if key not in self._pools:
                outdated = [name for name in self._pools if name.startswith(f"{function.function_arn} ")]
                for name in outdated:
                    self._pools.pop(name).close()
                code, variables = self._unpack(function), self._faster(function.environment_vars)
                self._pools[key] = Pool(function, code, self._programs, self._endpoint, variables)
            return self._pools[key]

    def _faster(self, variables: Variables) -> Variables:
        waits = {name: str(max(1, round(float(variables[name]) / self._speed))) for name in _WAITS if name in variables}
        return {**variables, **waits}

    def _unpack(self, function: Model) -> Path:
        digest = hashlib.sha256(function.code_bytes).hexdigest()[:16]
        folder = self._code / f"{function.function_name}-{digest}"
        if not folder.exists():
            folder.mkdir(parents=True)
            with zipfile.ZipFile(io.BytesIO(function.code_bytes)) as archive:
                archive.extractall(folder)
        return folder


class Pool:
    """The execution environments of one version of a function."""

    def __init__(self, function: Model, code: Path, programs: Programs, endpoint: str, variables: Variables) -> None:
        self._function = function
        self._code = code
        self._programs = programs
        self._endpoint = endpoint
        self._variables = variables
        reserved = function.reserved_concurrency
        self._places = threading.Semaphore(int(reserved) if reserved else DEFAULT_CONCURRENCY)
        self._idle: deque[Environment] = deque()
        self._closed = False

    def run(self, event: object) -> Answer:
        """Runs one event in a warm environment, or in a new one."""
        runtime = str(self._function.run_time)
        if not runtime.startswith("python"):
            return _error("Runtime.Unsupported", f"{runtime} doesn't run in the local cloud; Python does")
        with self._places:
            environment = self._idle.pop() if self._idle else self._start()
            answer = environment.run(event)
            if environment.is_usable and not self._closed:
                self._idle.append(environment)
            else:
                environment.close()
        return answer

    def close(self) -> None:
        """Ends the idle environments; a busy one ends after its event."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _start(self) -> "Environment":
        return Environment(self._function, self._code, self._programs, self._endpoint, self._variables)


class Environment:
    """One runtime process and the API that feeds it."""

    def __init__(self, function: Model, code: Path, programs: Programs, endpoint: str, variables: Variables) -> None:
        self._function = function
        self._api = RuntimeApi()
        day = datetime.now(UTC).strftime("%Y/%m/%d")
        log = LogStream(group=function.logs_group_name, stream=f"{day}/[$LATEST]{id(self):032x}")
        environment = program_environment(
            endpoint,
            {
                "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": function.memory_size,
                "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_LOG_GROUP_NAME": log.group,
                "AWS_LAMBDA_LOG_STREAM_NAME": log.stream,
                "AWS_LAMBDA_RUNTIME_API": self._api.address,
                "LAMBDA_TASK_ROOT": str(code),
                "_HANDLER": function.handler,
                "PYTHONPATH": isolated_path(code),
                **variables,
            },
        )
        argv = python_without_site(["python", "-m", "awslambdaric", function.handler])
        self._process: Program = programs.start(f"lambda-{function.function_name}", argv, environment, code, log)

    @property
    def is_usable(self) -> bool:
        """Whether the process still runs."""
        return self._process.exit_code is None

    def run(self, event: object) -> Answer:
        """Hands the event over and waits for the answer, at most as long as the function's timeout.

        A runtime that is still loading its code has the time of the Init phase first.
        """
        timeout_s = float(self._function.timeout)
        invocation = self._api.submit(event, self._function.function_arn, timeout_s)
        loaded_s = time.monotonic() + _INIT_S
        while not invocation.answered.wait(_POLL_S):
            if self._process.exit_code is not None and not invocation.answered.wait(_POLL_S):
                return self._api.failed_to_start or _error(
                    "Runtime.ExitError", f"the runtime exited with status {self._process.exit_code}"
                )
            began_s = loaded_s if invocation.taken_s is None else invocation.taken_s
            if time.monotonic() > began_s + timeout_s:
                self._process.kill()
                self._process.wait(1.0)
                return _error("Sandbox.Timedout", f"the task timed out after {timeout_s:.2f} seconds")
        return self._api.take_answer(invocation) or _error("Runtime.NoAnswer", "the runtime sent no answer")

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._api.close()


def _is_scheduled(event: object) -> bool:
    return isinstance(event, dict) and event.get("detail-type") == "Scheduled Event"


def _error(kind: str, message: str) -> Answer:
    return Answer(payload=json.dumps({"errorType": kind, "errorMessage": message}).encode(), failed=True)
