"""The images of a cohort for a training: staged ahead on the local disk, in an order that a seed decides, resumable."""

import hashlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from raki.catalogue.batching import Batched, Report, as_it_is, by_name
from raki.catalogue.cohort_files import READERS, CohortFile, What, check_of, files_of, in_order_of_use
from raki.catalogue.staging import NoRoom, Staging, source_at
from raki.errors import RakiError
from raki.wording import plain

LOG = logging.getLogger("raki.catalogue")


class CohortStream(IterableDataset[dict[str, Any]]):
    """The images of a cohort, as torch takes them: an `IterableDataset` of dictionaries.

    Each has its pixels (`image`: float32, axes row, column) or, of the service's prepared bucket, its undersampled
    k-space (`prepared`: complex64, axes coil, pe, ro), and `scan_id`, `result_id`, `number` and `labels` of the cohort.
    Files come to the local disk before they are needed, and stay for the next pass as far as the limit allows. A file
    that is missing, damaged, or other than the catalogue says is named in `damaged` and passed over.

    Args:
        cohort: from `Catalogue.cohort`, or a Parquet file of `raki catalogue export`, read.
        place: the folder or `s3://bucket/prefix` of the results, or of prepared scans.
        local: a folder for copies, of this stream alone.
        limit_bytes: of all copies together; a group of `mix` files has to fit.
        prefetch: how many files are brought ahead.
        mix: of how many files images are mixed with each other.
        seed: with the number of the pass it decides the order; None: that of the cohort.
        columns: others of the cohort that each item is to have.

    Raises:
        ValueError: the cohort lacks a column, or a row says not where its image lies.
    """

    def __init__(
        self,
        cohort: pa.Table,
        place: str | Path,
        *,
        local: Path,
        what: What = "image",
        limit_bytes: int = 10 << 30,
        prefetch: int = 4,
        mix: int = 4,
        seed: int | None = 0,
        columns: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        if prefetch < 0 or mix < 1:
            raise ValueError(f"prefetch is {prefetch} and mix is {mix}; at least 0 and 1 were needed")
        self._files = files_of(cohort, what, columns)
        self._place, self._what, self._local = place, what, local
        self._limit_bytes, self._prefetch, self._mix, self._seed = limit_bytes, prefetch, mix, seed
        told = [[file.key, file.version, [row["number"] for row in file.rows]] for file in self._files]
        self._digest = hashlib.sha256(json.dumps([told, what, mix, seed]).encode()).hexdigest()[:16]
        self.epoch = 0
        """Which pass this is, or the next one will be, from 0: it decides the order with the seed."""
        self._positions = [0]
        """Images of this pass that were handed over, or passed over: of each worker's share."""
        self._has_ended = False
        self._in_other_loader = torch.zeros(1, dtype=torch.bool).share_memory_()
        self.waited_s = 0.0
        """How long whoever takes the images had to wait for files, in all: to be asked for, and to come."""
        self.n_fetched = 0
        """Files that were not on the local disk."""
        self.damaged: dict[str, str] = {}
        """Key -> what is wrong with it: its images are passed over."""

    def __len__(self) -> int:
        return sum(len(file.rows) for file in self._files)

    @property
    def position(self) -> int:
        """Images of this pass that were handed over, or passed over."""
        return sum(self._positions)

    def state_dict(self) -> dict[str, Any]:
        """Where it is, as JSON has it: behind the image or batch that was handed over last.

        Raises:
            ValueError: workers of a loader of one's own have the images; only that loader knows how far.
        """
        if get_worker_info() is None:
            if self._in_other_loader:
                raise ValueError(
                    "the images went to workers of a DataLoader, and how far isn't known here; take them from `batches`"
                )
            if self.position == len(self):
                return {"cohort": self._digest, "epoch": self.epoch + 1, "positions": [0]}
        return {"cohort": self._digest, "epoch": self.epoch, "positions": list(self._positions)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from there: the images that hadn't been handed over, in the order as if nothing had happened.

        With as many workers as before; at the beginning of a pass, with any number.

        Raises:
            ValueError: the state is of another cohort, seed or mixture, or at no place in it.
        """
        if state["cohort"] != self._digest:
            raise ValueError("the state is of another cohort, seed or mixture; going on would show other images")
        positions = [int(position) for position in state["positions"]]
        if not positions or min(positions) < 0 or sum(positions) > len(self):
            raise ValueError(f"the state is at {positions} of {len(self)} images; it isn't one of this stream's")
        self.epoch, self._positions = int(state["epoch"]), positions
        self._has_ended = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rest of this pass; the next call is the next pass.

        In a worker of a DataLoader, its share of the pass. There `epoch` has to be set before each pass, unless workers
        persist; `batches` does.
        """
        worker = get_worker_info()
        if worker is None:
            yield from self.share(0, 1)
            self.epoch, self._positions = self.epoch + 1, [0]
            return
        self._in_other_loader.fill_(True)
        if self._has_ended:
            self.epoch, self._positions = self.epoch + 1, [0] * worker.num_workers
        yield from self.share(worker.id, worker.num_workers)
        self._has_ended = True

    def batches(
        self,
        batch_size: int,
        *,
        n_workers: int = 0,
        drop_last: bool = False,
        collate: Callable[[list[dict[str, Any]]], Any] = by_name,
        **of_loader: Any,
    ) -> Iterator[Any]:
        """The rest of this pass in batches that so many processes make; the next call is the next pass.

        `state_dict` then is of all of them together: behind the batch that was handed over last, whatever they have
        prepared beyond it. `damaged`, `n_fetched` and `waited_s` are of all of them as well.

        Args:
            batch_size: images of one worker's share that are a batch; its last one may have fewer.
            drop_last: whether such a one is left out.
            collate: makes a batch of items; by itself, pixels are stacked where they are of one shape, all else listed.
            of_loader: further arguments of the DataLoader, as `pin_memory` or `prefetch_factor`.

        Raises:
            ValueError: the state is of another number of workers.
        """
        self._require_shares(max(1, n_workers))
        batched = Batched(self, batch_size, drop_last=drop_last, collate=collate)
        before = self.waited_s, self.n_fetched
        reports: dict[int, Report] = {}
        loader = DataLoader(batched, batch_size=None, num_workers=n_workers, collate_fn=as_it_is, **of_loader)
        for report, batch in loader:
            reports[report.share] = report
            self._positions[report.share] = report.position
            self.damaged |= report.damaged
            if n_workers:
                self.waited_s = before[0] + sum(each.waited_s - before[0] for each in reports.values())
                self.n_fetched = before[1] + sum(each.n_fetched - before[1] for each in reports.values())
            if batch is not None:
                yield batch
        self.epoch, self._positions = self.epoch + 1, [0]

    def _require_shares(self, n_shares: int) -> None:
        if len(self._positions) != n_shares:
            if self.position:
                raise ValueError(
                    f"the pass was begun by {len(self._positions)} workers, and {n_shares} were asked for; it goes on "
                    "with as many"
                )
            self._positions = [0] * n_shares

    def share(self, number: int, n_shares: int) -> Iterator[dict[str, Any]]:
        """The rest of a worker's share of the pass, which isn't ended by it."""
        self._require_shares(n_shares)
        local = self._local / f"worker-{number}-of-{n_shares}" if n_shares > 1 else self._local
        staging = Staging(
            local, source_at(self._place), limit_bytes=self._limit_bytes // n_shares, n_at_once=max(1, self._prefetch)
        )
        n_before = self.n_fetched
        try:
            for item in self._pass(staging, number, self._files[number::n_shares]):
                self.n_fetched = n_before + staging.n_fetched
                yield item
        finally:
            self.n_fetched = n_before + staging.n_fetched
            staging.close()

    def report(self, number: int) -> Report:
        """How far a share of the pass is, and what was met on the way."""
        return Report(number, self._positions[number], dict(self.damaged), self.waited_s, self.n_fetched)

    def _pass(self, staging: Staging, share: int, files: list[CohortFile]) -> Iterator[dict[str, Any]]:
        groups = self._groups(files)
        ahead = deque(file for group in groups for file in in_order_of_use(group))
        held: dict[str, Future[Path] | OSError] = {}
        position = 0
        for group in groups:
            own = in_order_of_use(group)
            if position + len(group) <= self._positions[share]:  # had before it was resumed
                position += len(group)
                for _ in own:
                    ahead.popleft()
                continue
            keys = {file.key for file in own}
            with ExitStack() as opened:
                read: dict[str, Callable[[int], np.ndarray]] = {}
                for file, row in group:
                    position += 1
                    if position <= self._positions[share]:
                        continue
                    began = time.perf_counter()
                    self._bring(staging, ahead, held, needed=keys)
                    self.waited_s += time.perf_counter() - began
                    item = self._item(file, row, held[file.key], read, opened)
                    self._positions[share] = position
                    if item is not None:
                        yield item
            for file in own:
                held.pop(file.key, None)
                staging.let_go(file.key, file.version)

    def _groups(self, files: list[CohortFile]) -> list[list[tuple[CohortFile, Mapping[str, Any]]]]:
        """The images of this pass, of `mix` files together in a random order."""
        if self._seed is None:
            return [[(file, row) for row in file.rows] for file in files]
        random = np.random.default_rng([self._seed, self.epoch])
        shuffled = [files[index] for index in random.permutation(len(files))]
        groups = []
        for begin in range(0, len(shuffled), self._mix):
            images = [(file, row) for file in shuffled[begin : begin + self._mix] for row in file.rows]
            groups.append([images[index] for index in random.permutation(len(images))])
        return groups

    def _bring(
        self,
        staging: Staging,
        ahead: deque[CohortFile],
        held: dict[str, "Future[Path] | OSError"],
        *,
        needed: Collection[str],
    ) -> None:
        """Begins to bring the files that are needed now, and as many behind them as there is room for."""
        while ahead and (ahead[0].key in needed or len(held.keys() - needed) < self._prefetch):
            file = ahead[0]
            try:
                held[file.key] = staging.hold(file.key, file.version, check_of(file, self._what))
            except NoRoom:
                if file.key in needed:
                    raise
                return
            except OSError as error:
                held[file.key] = error
            ahead.popleft()

    def _item(
        self,
        file: CohortFile,
        row: Mapping[str, Any],
        coming: "Future[Path] | OSError",
        read: dict[str, "Callable[[int], np.ndarray]"],
        opened: ExitStack,
    ) -> dict[str, Any] | None:
        """An image with what is known of it; None where its file is damaged, which is noted."""
        if file.key in self.damaged:
            return None
        try:
            if file.key not in read:
                if isinstance(coming, OSError):
                    raise coming
                began = time.perf_counter()
                path = coming.result()
                self.waited_s += time.perf_counter() - began
                read[file.key] = opened.enter_context(READERS[self._what](path))
            pixels = read[file.key](row["number"])
        except (OSError, ValueError, LookupError, RakiError) as error:
            self.damaged[file.key] = plain(str(error) or type(error).__name__, 200)
            LOG.warning(
                "a file of the cohort is passed over", extra={"key": file.key, "reason": self.damaged[file.key]}
            )
            return None
        return {self._what: torch.from_numpy(pixels), **row}
