"""Drains the reconstruct queue: trains and applies a network on each scan, writes its images, and ends."""

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import boto3
import torch
from botocore.client import BaseClient

from containers import command_line
from containers.scratch import clear_leftovers, scan_folder
from raki.errors import NoSuchModel, TransientError
from raki.images import Reconstruction
from raki.memory import is_large, reconstruct_within
from raki.models import Store
from raki.models.choosing import Brought, chosen_model
from raki.names import OPTIONS_FILE
from raki.options import NO_MODEL, Chosen, Options, choose, reference
from raki.results import FilledKspace, Source, kept_kspace, write_results
from raki.scan.prepared import open_prepared
from raki.service import handover, model_objects
from raki.service.bookkeeping import Bookkeeping
from raki.service.cost import HourlyPrices, scan_cost
from raki.service.lanes import Device, Lane, Lanes
from raki.service.lease import Consumer, Message
from raki.service.ledger import Ledger, ScanRecord, State
from raki.service.messages import ReconstructionRequested
from raki.service.objects import tag_reconstructed
from raki.service.process import leave, run_container
from raki.service.record import HAS_RESULT
from raki.service.settings import ReconstructSettings, from_environment
from raki.service.stage import Stage, owner_name
from raki.service.watchdog import Watchdog

LOG = logging.getLogger("raki.reconstruct")

PATIENCE_S = 5
"""How long an empty queue is watched before the job ends, where no dispatcher has said how long waiting pays."""
N_LANES = 3
"""One scan has the device, one lies ready, one is written."""
LIFE_S = 5 * 3600.0
"""Then it takes no further scan: Batch ends it after six hours, scan in hand or not, and tries no such end again.

AWS Batch User Guide, "Job timeouts". What waits has another job: the dispatcher sees it in the queue.
"""
STEP_S = 3600.0
"""The longest that a slice, or the writing of results, may take: of the published methods one trains for half an hour a
slice on one core."""


class Job:
    """Works through the queue: one scan at a time has the device, with the next and the last ones beside it."""

    def __init__(
        self, settings: ReconstructSettings, options: Options, job_id: str | None = None, *, n_lanes: int = N_LANES
    ) -> None:
        self._settings = settings
        self._options = options
        self._s3: BaseClient = boto3.client("s3")
        self._sqs: BaseClient = boto3.client("sqs")
        dynamodb = boto3.client("dynamodb")
        self._ledger = Ledger(dynamodb, settings.ledger_table)
        self._books = Bookkeeping(dynamodb, settings.ledger_table)
        self._started_s = time.monotonic()
        self._stages = [self._stage(job_id) for _ in range(n_lanes)]

    def _stage(self, job_id: str | None) -> Stage:
        """A stage for each lane: each has one message in hand, under a name of its own, and its own watchdog."""
        queues = self._settings.reconstruct_queue_url, self._settings.reconstruct_dead_letters_url
        return Stage(
            state=State.RECONSTRUCTING,
            consumer=Consumer(self._sqs, *queues),
            ledger=self._ledger,
            s3=self._s3,
            results_bucket=self._settings.results_bucket,
            owner=owner_name(job_id),
            watchdog=Watchdog(STEP_S),
            note_alive=partial(self._books.note_alive, job_id) if job_id else lambda: None,
        )

    def drain(self) -> None:
        """Receives messages until none has come for a while."""
        if n_folders := clear_leftovers():
            LOG.warning("cleared away what an earlier job left", extra={"n_folders": n_folders})
        Lanes(Device(State.RECONSTRUCTING), self._handle, self._stages, self._patience_s, self._is_young).run()

    def _is_young(self) -> bool:
        return time.monotonic() - self._started_s <= LIFE_S

    def _patience_s(self) -> float:
        return float(self._books.kept("patience_s") or PATIENCE_S)

    def _handle(self, lane: Lane, message: Message) -> bool:
        request = ReconstructionRequested.from_json(message.body)
        return lane.stage.attend(message, request.scan_id, lambda record: self._reconstruct(lane, request, record))

    def _reconstruct(self, lane: Lane, request: ReconstructionRequested, record: ScanRecord) -> None:
        if record.attempts[State.RECONSTRUCTING] > 1:
            lane.be_alone()
        # A request of a run that was cancelled may come before that of the run that followed, and ask for other things.
        asked = request.options if record.options is None else record.options
        chosen = choose({"deployment": asdict(self._options), OPTIONS_FILE: asked})
        with scan_folder() as scratch:
            prepared = self._prepared(request, scratch, lane.stage.step)
            store = self._store(chosen, scratch)
            with open_prepared(prepared) as scan, lane.computing(prepared.stat().st_size):
                brought = Brought(chosen=chosen, model=None)
                if chosen.options.model != NO_MODEL:
                    brought = chosen_model(chosen, scan, store=store)
                chosen = brought.chosen
                kept = kept_kspace(chosen.options.kspace, scratch, scan, method=chosen.options.method)
                publish = partial(self._publish, lane.stage, request, record, chosen, scratch / "results", kept)
                keep = kept.take if kept else None
                reconstruction = reconstruct_within(chosen, scan, lane.stage.step, model=brought.model, keep=keep)
                if is_large(reconstruction):
                    lane.is_computed = True
                    publish(reconstruction)
            if not is_large(reconstruction):
                publish(reconstruction)
        version_id = self._let_go(record, request)
        self._ledger.finish(record.scan_id, State.RECONSTRUCTED, owner=lane.stage.owner)
        self._tag_newer(record, version_id)
        seconds = {name: round(value, 2) for name, value in reconstruction.seconds.items()}
        LOG.info("reconstructed", extra={"scan_id": record.scan_id, "seconds": seconds})

    def _publish(
        self,
        stage: Stage,
        request: ReconstructionRequested,
        record: ScanRecord,
        chosen: Chosen,
        folder: Path,
        kept: FilledKspace | None,
        reconstruction: Reconstruction,
    ) -> None:
        source = Source(name=record.shown_name, sha256=request.raw_sha256, n_bytes=request.raw_n_bytes)
        files = write_results(
            reconstruction,
            folder,
            source=source,
            chosen=chosen,
            scan_id=record.scan_id,
            quantities=chosen.options.quantities,
            kspace=kept.path if kept else None,
        )
        files += self._cost(record, reconstruction, folder)
        stage.publish(record, files, outcome="reconstructed", remarks=reconstruction.scan.remarks)

    def _cost(self, record: ScanRecord, reconstruction: Reconstruction, folder: Path) -> list[Path]:
        """Writes what the scan's computing costs, where it runs on a machine of known price."""
        began, ended = (record.entered_at.get(state) for state in (State.DECOMPRESSING, State.PREPARED))
        cost = scan_cost(
            HourlyPrices.from_json(self._settings.hourly_usd),
            worker_s=(ended - began).total_seconds() if began and ended and ended > began else None,
            gpu_s=float(sum(reconstruction.seconds.values())),
            gpu=gpu_name(),
            scan_id=record.scan_id,
        )
        if cost is None:
            return []
        path = folder / "cost.json"
        path.write_text(json.dumps(cost, indent=2) + "\n", encoding="utf-8")
        return [path]

    def _prepared(self, request: ReconstructionRequested, scratch: Path, progress: Callable[[int], None]) -> Path:
        """The prepared scan as a file: where it is mounted already, or else downloaded."""
        place = request.prepared_bucket, request.prepared_key
        mirror = self._settings.prepared_folder
        if mirror and (found := handover.find(self._s3, *place, Path(mirror))):
            return found
        prepared = scratch / "prepared.h5"
        self._s3.download_file(*place, str(prepared), Callback=progress)
        return prepared

    def _store(self, chosen: Chosen, scratch: Path) -> Store:
        """A store with the model that is asked for, brought from the deployment's bucket.

        Raises:
            NoSuchModel: the deployment has none, or not that one.
        """
        store = Store(root=scratch / "models")
        said = reference(chosen.options.model)
        if chosen.options.model == NO_MODEL or said is None:
            return store
        if self._settings.models is None:
            raise NoSuchModel(
                f"the model {chosen.options.model} was asked for, and the deployment has no models (raki:models): "
                "leave model out"
            )
        model_objects.bring(self._s3, self._settings.models, *said, scratch / "models")
        return store

    def _let_go(self, record: ScanRecord, request: ReconstructionRequested) -> str | None:
        """Tags the raw scan, which may be archived, and the prepared one, which may go, now that the result is safe.

        Of the raw scan the version that was seen last, in a bucket with versions: it holds the bytes that were
        reconstructed. Returns which that is.
        """
        version_id = self._standing_version(record, request)
        raw = self._settings.raw_bucket, record.raw_key
        is_there = tag_reconstructed(self._s3, *raw, version_id=version_id)
        if not (is_there and tag_reconstructed(self._s3, request.prepared_bucket, request.prepared_key)):
            LOG.warning("a scan is gone before it was tagged", extra={"scan_id": record.scan_id})
        return version_id

    def _tag_newer(self, record: ScanRecord, tagged: str | None) -> None:
        """A version of these bytes that came since can't have been known to have its result."""
        now = self._ledger.get(record.scan_id)
        if now and now.state in HAS_RESULT and now.version_id not in (None, tagged):
            tag_reconstructed(self._s3, self._settings.raw_bucket, now.raw_key, version_id=now.version_id)

    def _standing_version(self, record: ScanRecord, request: ReconstructionRequested) -> str | None:
        now = self._ledger.get(record.scan_id)
        return (now.version_id if now else None) or request.raw_version_id


def gpu_name() -> str | None:
    """What the machine's GPU calls itself; None where there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def works() -> None:
    """Whether the libraries compute what they should: an FFT, a convolution, a solution, as on the CPU.

    Raises:
        RuntimeError: they don't, or the job has been given a GPU that they can't use.
    """
    if os.environ.get("AWS_BATCH_JOB_ID") and gpu_name() is None:
        raise RuntimeError("no GPU can be used; is the instance's driver older than the image's CUDA?")
    generator = torch.Generator().manual_seed(0)
    kspace = torch.randn(1, 4, 32, 32, generator=generator)
    kernels = torch.randn(2, 4, 3, 3, generator=generator)
    for device in {"cpu", "cuda" if gpu_name() else "cpu"}:
        there, also = kspace.to(device), kernels.to(device)
        back = torch.fft.ifft2(torch.fft.fft2(there)).real
        filtered = torch.nn.functional.conv2d(there, also)
        products = also.flatten(1) @ also.flatten(1).T
        solved = torch.linalg.solve(products, products)
        close = (
            torch.allclose(back.cpu(), kspace, atol=1e-4),
            # A GPU multiplies with ten bits in it (TF32), which is no fault.
            torch.allclose(filtered.cpu(), torch.nn.functional.conv2d(kspace, kernels), atol=0.1),
            torch.allclose(solved.cpu(), torch.eye(2), atol=1e-4),
        )
        if not all(close):
            raise RuntimeError(f"{device} computes wrongly: FFT, convolution, solution are right: {close}")


def main() -> int:
    """The container's entry point. A job that is stopped with its spot instance is worth another attempt."""
    command_line.parse("reconstruct", __doc__, ReconstructSettings, Options, works=works)
    return run_container(
        # No setting of the deployment's: Batch itself puts the job's id into the environment.
        lambda: Job(
            from_environment(ReconstructSettings), from_environment(Options), os.environ.get("AWS_BATCH_JOB_ID")
        ).drain(),
        exit_code_when_stopped=TransientError.exit_code,
    )


if __name__ == "__main__":
    leave(main())
