"""The whole service on one machine: a context manager that starts the cloud and leaves nothing behind.

What it doesn't model: permissions and bucket policies, what encryption keeps secret, networks, lifecycle rules, memory
and CPU limits, and the time that AWS takes to start an instance. `left_out` lists the types of the templates that it
doesn't create. Alarms watch nothing while it runs; `infra.local.alarms` says afterwards which would have fired.
"""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from infra.local.journal import Event, Journal
from infra.local.settings import LocalSettings

if TYPE_CHECKING:
    from infra.local.account import Client
    from infra.local.engine import Engine

__all__ = ["Event", "LocalCloud", "LocalSettings"]


class LocalCloud:
    """A running cloud, from `__enter__` to `__exit__`. One at a time in a process: moto's state is the process's."""

    def __init__(self, settings: LocalSettings, report: Callable[[Event], None] = lambda _event: None) -> None:
        self._settings = settings
        self._journal = Journal(settings.work / "events.log", report)
        self._engine: Engine | None = None

    def __enter__(self) -> "LocalCloud":
        # moto, boto3 and werkzeug take seconds to import; a command line that only mentions the local cloud doesn't.
        from infra.local.engine import Engine  # noqa: PLC0415

        self._engine = Engine(self._settings, self._journal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    @property
    def endpoint(self) -> str:
        """The server's address, for AWS_ENDPOINT_URL."""
        return self._running.endpoint

    def deploy(self) -> None:
        """Deploys the assembly of the settings.

        Raises:
            DeploymentFailed: a stack can't be created; the message names the resource and its reason.
        """
        self._running.deploy()

    def client(self, service: str) -> "Client":
        """A boto3 client of this cloud."""
        return self._running.connect(service)

    @property
    def _running(self) -> "Engine":
        if self._engine is None:
            raise RuntimeError("the local cloud isn't running: use it as a context manager, `with LocalCloud(...)`")
        return self._engine
