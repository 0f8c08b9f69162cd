"""Structured logs: one JSON object a line, opaque scan ids, never a path or patient data."""

import json
import logging
import sys
from datetime import UTC, datetime
from traceback import walk_tb

OURS = ("raki", "containers", "lambdas", "__main__")
_STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[0]:
            line |= _cause(record.exc_info[1])
        return json.dumps(line, default=str)


def _cause(error: BaseException | None) -> dict[str, str]:
    """An exception's type and our innermost line; never its text, which may quote a path or a header."""
    ours = [frame for frame in walk_tb(error.__traceback__ if error else None)
            if str(frame[0].f_globals.get("__name__")).split(".")[0] in OURS]  # fmt: skip
    cause = {"exception": type(error).__name__}
    if ours:
        frame, line_number = ours[-1]
        cause["at"] = f"{frame.f_globals['__name__']}:{line_number}"
    if call := getattr(error, "operation_name", None):  # of botocore's ClientError: logs need no boto3
        cause |= {"call": call, "code": getattr(error, "response", {}).get("Error", {}).get("Code")}
    return cause


def configure() -> logging.Logger:
    """The logger `raki`, writing JSON lines to standard output. Fields go into `extra`."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonLines())
    logger = logging.getLogger("raki")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return logger
