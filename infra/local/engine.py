"""Puts the local cloud together: the server, what stands for AWS's machines, and the loops that drive them."""

import contextlib
import threading
import urllib.request
from contextlib import ExitStack
from queue import SimpleQueue

from infra.local import account, work_folder
from infra.local.deploy.custom_resources import Json, Replies, run_handler
from infra.local.deploy.deployment import deploy
from infra.local.events.loops import Loops
from infra.local.events.mappings import Mappings
from infra.local.events.rules import Rules
from infra.local.journal import Journal
from infra.local.moto import state
from infra.local.moto.receiving import Parts as ObjectParts
from infra.local.run.containers import Containers
from infra.local.run.functions import Functions
from infra.local.run.jobs import Jobs
from infra.local.run.programs import Programs
from infra.local.run.protection import Protections
from infra.local.run.tasks import Services
from infra.local.server.adaptations import Adaptations, Hooks
from infra.local.server.server import Parts, Server
from infra.local.settings import LocalSettings
from infra.local.share.folder import ShareFolder
from infra.local.share.gateway import REFRESH_SPACING_S, StorageGateway
from infra.local.share.lustre import FileSystems
from infra.local.share.uploads import UploadNotices
from infra.local.share.watch import Watcher

_POLL_S = 0.2
HASTE = 10.0
"""By how much sooner files settle where no nuisances are asked for."""
_SCHEDULE_POLL_S = 0.1
_IMPORT_POLL_S = 1.0

# moto keeps its state in module globals.
_only_one = threading.Lock()


class Engine:
    """Everything that runs between the start and the end of a local cloud."""

    def __init__(self, settings: LocalSettings, journal: Journal) -> None:
        if not _only_one.acquire(blocking=False):
            raise RuntimeError("a local cloud runs in this process already; end it first")
        self._settings = settings
        self._journal = journal
        self._clients: dict[str, account.Client] = {}
        self._clients_lock = threading.Lock()
        self._skipped: set[str] = set()
        self._events: SimpleQueue[Json] = SimpleQueue()
        self._watchers: dict[ShareFolder, Watcher] = {}
        # Closed from the last entry to the first: the loops before what they drive, the server after its clients.
        self._cleanup = ExitStack()
        self._cleanup.callback(_only_one.release)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def connect(self, service: str) -> account.Client:
        """A boto3 client, made once for each service."""
        with self._clients_lock:
            if service not in self._clients:
                self._clients[service] = account.connect(service, self.endpoint)
            return self._clients[service]

    def _connect_as(self, role_arn: str) -> account.Client:
        """An S3 client that acts in a role, whose unique id is its key's."""
        role = self.connect("iam").get_role(RoleName=role_arn.rpartition("/")[2])["Role"]
        return account.connect("s3", self.endpoint, role["RoleId"])

    def deploy(self) -> None:
        """Deploys the assembly of the settings."""
        deploy(self._settings.assembly, self.connect, self._journal)

    def close(self) -> None:
        """Ends everything. A second call does nothing."""
        self._cleanup.close()

    def _start(self) -> None:
        settings, journal = self._settings, self._journal
        self._cleanup.enter_context(work_folder.held(settings.work))
        settings.share.mkdir(parents=True, exist_ok=True)
        self._replies = Replies()
        self._uploads = UploadNotices(
            self._fire, speed=settings.speed if settings.nuisances else HASTE * settings.speed
        )
        self._gateway = StorageGateway(
            settings.share,
            self._connect_as,
            self._fire,
            journal,
            spacing_s=REFRESH_SPACING_S / settings.speed,
            two_versions=settings.nuisances,
            uploads=self._uploads,
        )
        self._file_systems = FileSystems(settings.work / "fsx", self.connect, journal)
        self._protections = Protections(state.desired_count)
        self._object_parts = ObjectParts()
        parts = Parts(
            file_systems=self._file_systems,
            gateway=self._gateway,
            object_parts=self._object_parts,
            protections=self._protections,
            replies=self._replies,
        )
        server = Server(settings.port, parts, settings.work / "logs" / "server.log")
        self.endpoint = server.endpoint
        self._cleanup.callback(server.close)
        self._cleanup.enter_context(work_folder.announced(settings.work, self.endpoint, settings.share))
        self._cleanup.callback(self._forget_everything)
        self._start_executors()
        adaptations = Adaptations(self._hooks())
        self._cleanup.callback(adaptations.remove)
        adaptations.install()
        self._forget_everything()
        self._start_loops()
        journal.note("started", f"the local cloud at {self.endpoint}")

    def _start_executors(self) -> None:
        work = self._settings.work
        programs = Programs(work / "logs", state.put_log_line)
        self._cleanup.callback(programs.close)
        containers = Containers(
            self._settings.assembly, work, programs, self.endpoint, file_system=self._file_systems.mounted
        )
        self._functions = Functions(work, programs, self.endpoint, self._journal, speed=self._settings.speed)
        self._cleanup.callback(self._functions.close)
        self._services = Services(
            containers, self.connect, self._journal, endpoint=self.endpoint, protections=self._protections
        )
        self._rules = Rules(
            self.connect,
            self._journal,
            speed=self._settings.speed,
            run_task=self._services.run_once,
        )
        self._jobs = Jobs(containers, self._rules.job_changed, self._journal, n_gpus=self._settings.n_gpus)
        self._cleanup.callback(self._jobs.close)

    def _start_loops(self) -> None:
        mappings = Mappings(self.connect, self._journal, speed=self._settings.speed)
        loops = Loops(self._journal)
        self._cleanup.callback(self._close_watchers)
        self._cleanup.callback(loops.close)
        loops.every(_POLL_S, "event source mappings", mappings.step)
        loops.every(_SCHEDULE_POLL_S, "schedules", self._rules.step)
        loops.every(_SCHEDULE_POLL_S, "events of S3", self._fire_events)
        loops.every(_POLL_S, "services", self._services.step)
        loops.every(_POLL_S, "shares", self._watch_shares)
        loops.every(_POLL_S, "upload notices", self._uploads.step)
        loops.every(_IMPORT_POLL_S, "data repository associations", self._file_systems.step)

    def _hooks(self) -> Hooks:
        return Hooks(
            announce=self._events.put,
            connect=self.connect,
            custom_resource=self._run_custom_resource,
            invoke=self._functions.invoke,
            nuisances=self._settings.nuisances,
            object_files=self._settings.work / "objects",
            received=self._object_parts.take,
            run_job=self._jobs.run,
            skipped=self._note_skipped,
        )

    def _run_custom_resource(self, request: Json) -> Json:
        def invoke(arn: str, event: Json) -> tuple[bytes, bool]:
            return self._functions.invoke(state.function(arn), event)

        return run_handler(invoke, self._replies, self.endpoint, request)

    def _note_skipped(self, kind: str, reason: str) -> None:
        if kind not in self._skipped:
            self._skipped.add(kind)
            self._journal.note("not modelled", f"{kind}: {reason}")

    def _fire(self, event: Json) -> None:
        self._rules.fire(event)

    def _fire_events(self) -> None:
        """Not in the request that causes them, which would wait for their targets."""
        while not self._events.empty():
            self._fire(self._events.get())

    def _watch_shares(self) -> None:
        for folder in self._gateway.writable_folders:
            if folder not in self._watchers:
                self._watchers[folder] = Watcher(folder)
            self._watchers[folder].step()

    def _close_watchers(self) -> None:
        for watcher in self._watchers.values():
            watcher.close()

    def _forget_everything(self) -> None:
        """moto's own way to begin anew; the end of a cloud must not keep its objects in memory."""
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")  # noqa: S310 - our own server
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5.0):  # noqa: S310
            pass
