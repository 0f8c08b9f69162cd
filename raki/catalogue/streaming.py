"""The images of a cohort for a training: staged ahead on the local disk, in an order that a seed decides, resumable."""

import hashlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import IterableDataset, get_worker_info

from raki.catalogue.staging import NoRoom, Staging, source_at
from raki.errors import RakiError
from raki.scan.prepared import open_prepared
from raki.wording import plain

LOG = logging.getLogger("raki.catalogue")

What = Literal["image", "prepared"]
IMAGE_FILE = "image.h5"
OF_ROW = ("scan_id", "result_id", "labels")
"""Of a cohort's columns, what every item has beside its image's number; others on request."""


@dataclass(frozen=True, kw_only=True)
class _File:
    """One file, and the rows of the cohort whose images lie in it."""

    key: str
    version: str
    rows: tuple[Mapping[str, Any], ...]


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
        self._files = _files_of(cohort, what, columns)
        self._place, self._what, self._local = place, what, local
        self._limit_bytes, self._prefetch, self._mix, self._seed = limit_bytes, prefetch, mix, seed
        told = [[file.key, file.version, [row["number"] for row in file.rows]] for file in self._files]
        self._digest = hashlib.sha256(json.dumps([told, what, mix, seed]).encode()).hexdigest()[:16]
        self.epoch = 0
        """Which pass this is, or the next one will be, from 0: it decides the order with the seed."""
        self.position = 0
        """Images of this pass that were handed over, or passed over."""
        self.waited_s = 0.0
        """How long whoever takes the images had to wait for the disk, in all."""
        self.n_fetched = 0
        """Files that were not on the local disk."""
        self.damaged: dict[str, str] = {}
        """Key -> what is wrong with it: its images are passed over."""

    def __len__(self) -> int:
        return sum(len(file.rows) for file in self._files)

    def state_dict(self) -> dict[str, Any]:
        """Where it is, as JSON has it: behind the image that was handed over last."""
        is_through = self.position == len(self)
        epoch, position = (self.epoch + 1, 0) if is_through else (self.epoch, self.position)
        return {"cohort": self._digest, "epoch": epoch, "position": position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from there: the same images in the same order as if nothing had happened.

        Raises:
            ValueError: the state is of another cohort, seed or mixture.
        """
        if state["cohort"] != self._digest:
            raise ValueError("the state is of another cohort, seed or mixture; going on would show other images")
        self.epoch, self.position = int(state["epoch"]), int(state["position"])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rest of this pass; the next call is the next pass."""
        worker = get_worker_info()
        number, n_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        local = self._local / f"worker-{number}-of-{n_workers}" if worker else self._local
        staging = Staging(
            local, source_at(self._place), limit_bytes=self._limit_bytes // n_workers, n_at_once=max(1, self._prefetch)
        )
        try:
            yield from self._pass(staging, self._files[number::n_workers])
        finally:
            self.n_fetched += staging.n_fetched
            staging.close()
        self.epoch, self.position = self.epoch + 1, 0

    def _pass(self, staging: Staging, files: list[_File]) -> Iterator[dict[str, Any]]:
        groups = self._groups(files)
        ahead = deque(file for group in groups for file in _in_order_of_use(group))
        held: dict[str, Future[Path] | OSError] = {}
        position = 0
        for group in groups:
            own = _in_order_of_use(group)
            if position + len(group) <= self.position:  # had before it was resumed
                position += len(group)
                for _ in own:
                    ahead.popleft()
                continue
            keys = {file.key for file in own}
            with ExitStack() as opened:
                read: dict[str, Callable[[int], np.ndarray]] = {}
                for file, row in group:
                    position += 1
                    if position <= self.position:
                        continue
                    self._bring(staging, ahead, held, needed=keys)
                    item = self._item(file, row, held[file.key], read, opened)
                    self.position = position
                    if item is not None:
                        yield item
            for file in own:
                held.pop(file.key, None)
                staging.let_go(file.key, file.version)

    def _groups(self, files: list[_File]) -> list[list[tuple[_File, Mapping[str, Any]]]]:
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
        ahead: deque[_File],
        held: dict[str, "Future[Path] | OSError"],
        *,
        needed: Collection[str],
    ) -> None:
        """Begins to bring the files that are needed now, and as many behind them as there is room for."""
        while ahead and (ahead[0].key in needed or len(held.keys() - needed) < self._prefetch):
            file = ahead[0]
            try:
                held[file.key] = staging.hold(file.key, file.version, _check(file, self._what))
            except NoRoom:
                if file.key in needed:
                    raise
                return
            except OSError as error:
                held[file.key] = error
            ahead.popleft()

    def _item(
        self,
        file: _File,
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
                read[file.key] = opened.enter_context(_READERS[self._what](path))
            pixels = read[file.key](row["number"])
        except (OSError, ValueError, LookupError, RakiError) as error:
            self.damaged[file.key] = plain(str(error) or type(error).__name__, 200)
            LOG.warning(
                "a file of the cohort is passed over", extra={"key": file.key, "reason": self.damaged[file.key]}
            )
            return None
        return {self._what: torch.from_numpy(pixels), **row}


def _files_of(cohort: pa.Table, what: What, columns: tuple[str, ...]) -> list[_File]:
    place = "folder" if what == "image" else "prepared_key"
    needed = (*OF_ROW, "image", place, "image_sha256", *columns)
    lacking = [name for name in needed if name not in cohort.column_names]
    if lacking:
        raise ValueError(f"the cohort lacks {', '.join(lacking)}; raki needs one from Catalogue.cohort")
    by_key: dict[str, list[Mapping[str, Any]]] = {}
    versions: dict[str, str] = {}
    for row in cohort.select(list(dict.fromkeys(needed))).to_pylist():
        if row[place] is None:
            raise ValueError(f"the cohort has no {place} for image {row['image']} of scan {row['scan_id']}")
        key = f"{row[place]}/{IMAGE_FILE}".lstrip("/") if what == "image" else row[place]
        versions[key] = row["image_sha256"] or ""
        by_key.setdefault(key, []).append({"number": row["image"], **{name: row[name] for name in (*OF_ROW, *columns)}})
    return [_File(key=key, version=versions[key], rows=tuple(rows)) for key, rows in by_key.items()]


def _in_order_of_use(group: list[tuple[_File, Mapping[str, Any]]]) -> list[_File]:
    return list({file.key: file for file, _ in group}.values())


def _check(file: _File, what: What) -> Callable[[Path], None]:
    """Of an image file: that it is the one that the catalogue speaks of. A prepared scan has checksums of its own."""

    def check(path: Path) -> None:
        with path.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != file.version:
                raise ValueError("it is another file than the catalogue says: made again since, or damaged")

    return check if what == "image" and file.version else lambda _path: None


@contextmanager
def _images(path: Path) -> "Iterator[Callable[[int], np.ndarray]]":
    with h5py.File(path, "r") as file:
        data = file["dataset/image_0/data"]
        yield lambda number: np.ascontiguousarray(data[number, 0, 0], np.float32)


@contextmanager
def _prepared(path: Path) -> "Iterator[Callable[[int], np.ndarray]]":
    with open_prepared(path) as scan:
        yield lambda number: np.ascontiguousarray(scan.kspace[number])


_READERS = {"image": _images, "prepared": _prepared}
