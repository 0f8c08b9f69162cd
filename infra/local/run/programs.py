"""The processes that stand for containers and Lambda runtimes: started, listened to, and never left behind."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from infra.local.journal import LogStream

WARDEN = Path(__file__).with_name("warden.py")


class Programs:
    """Starts programs, each a process group of its own, and ends all of them on `close` or when this process dies.

    Args:
        logs: the folder of the log files.
        put_log_line: takes each line of output as well.
    """

    def __init__(self, logs: Path, put_log_line: Callable[[LogStream, str], None]) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._put_log_line = put_log_line
        self._lock = threading.Lock()
        self._running: set[Program] = set()
        self._closed = False
        self._warden = subprocess.Popen(
            [sys.executable, "-I", "-S", str(WARDEN)], stdin=subprocess.PIPE, start_new_session=True, text=True
        )

    def start(
        self,
        name: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        log: LogStream,
        *,
        on_end: Callable[[], None] = lambda: None,
    ) -> "Program":
        """Starts `argv` in `directory` with exactly `environment`; its output goes to `name`.log and to `log`.

        `on_end` is called once it has ended.

        Raises:
            RuntimeError: the local cloud is being closed.
            OSError: the program can't be started.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{name} is not started: the local cloud is closing")
            process = subprocess.Popen(
                argv,
                cwd=directory,
                env=dict(environment),
                start_new_session=True,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
            self._tell_warden(f"+{process.pid}")
            program = Program(process, self._logs / f"{_file_name(name)}.log", log)
            self._running.add(program)
        threading.Thread(target=self._attend, args=(program, on_end), name=f"attend {name}", daemon=True).start()
        return program

    def close(self) -> None:
        """Ends everything that still runs: a second to end by itself, then no choice."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for program in running:
            program.terminate()
        deadline = time.monotonic() + 1.0
        for program in running:
            if program.wait(max(0.0, deadline - time.monotonic())) is None:
                program.kill()
        for program in running:
            program.wait(1.0)
            program.finished.wait(1.0)
        if self._warden.stdin:
            self._warden.stdin.close()
        self._warden.wait(2.0)

    def _attend(self, program: "Program", on_end: Callable[[], None]) -> None:
        copier = threading.Thread(target=program.copy_output, args=(self._put_log_line,), daemon=True)
        copier.start()
        program.process.wait()
        # What the program itself started, and left behind, is of its group and may hold the output open.
        program.kill()
        copier.join(2.0)
        on_end()
        with self._lock:
            self._running.discard(program)
            self._tell_warden(f"-{program.process.pid}")
        program.finished.set()

    def _tell_warden(self, line: str) -> None:
        if self._warden.stdin and not self._warden.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._warden.stdin.write(line + "\n")
                self._warden.stdin.flush()


class Program:
    """One running program."""

    def __init__(self, process: "subprocess.Popen[str]", log_file: Path, log: LogStream) -> None:
        self.process = process
        self.finished = threading.Event()
        """Set when the program has ended and all of its output is in the logs."""
        self._log_file = log_file
        self._log = log

    @property
    def exit_code(self) -> int | None:
        """As a container reports it: 128 plus the signal for a program that a signal ended; None while it runs."""
        code = self.process.poll()
        return 128 - code if code is not None and code < 0 else code

    def wait(self, timeout_s: float) -> int | None:
        """Waits for the end; the exit code, or None if the program still runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_s)
        return self.exit_code

    def stop(self, patience_s: float) -> int | None:
        """SIGTERM, and SIGKILL for what hasn't ended after `patience_s` seconds."""
        self.terminate()
        if self.wait(patience_s) is None:
            self.kill()
        return self.wait(5.0)

    def terminate(self) -> None:
        """SIGTERM to the program alone, as a container's first process gets it."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()

    def kill(self) -> None:
        """SIGKILL to the program and to everything that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def copy_output(self, put_log_line: Callable[[LogStream, str], None]) -> None:
        """Copies the output to the logs, line by line, to its end."""
        output: IO[str] | None = self.process.stdout
        if output is None:
            return
        with output, self._log_file.open("a", encoding="utf-8") as copy:
            for line in output:
                copy.write(line)
                copy.flush()
                put_log_line(self._log, line.rstrip("\n"))


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)
