"""Batches that several processes make, and how far each of them is: what `CohortStream.batches` is made of."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch.utils.data import IterableDataset, get_worker_info


@dataclass(frozen=True)
class Report:
    """How far a worker is with its share."""

    share: int
    position: int
    damaged: Mapping[str, str]
    waited_s: float
    n_fetched: int


@runtime_checkable
class Shared(Protocol):
    """What hands images over share by share, and knows how far each is."""

    def share(self, number: int, n_shares: int) -> Iterator[dict[str, Any]]:
        """The rest of a share of the pass."""
        ...

    def report(self, number: int) -> Report:
        """How far it is."""
        ...


class Batched(IterableDataset[tuple[Report, Any]]):
    """Batches of a worker's share, each with how far it then is; at the end, without a batch, how far it came."""

    def __init__(
        self,
        images: Shared,
        batch_size: int,
        *,
        drop_last: bool,
        collate: Callable[[list[dict[str, Any]]], Any],
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"a batch of {batch_size} images; at least 1 was needed")
        self._images, self._batch_size, self._drop_last, self._collate = images, batch_size, drop_last, collate

    def __iter__(self) -> Iterator[tuple[Report, Any]]:
        worker = get_worker_info()
        number, n_shares = (worker.id, worker.num_workers) if worker else (0, 1)
        items = []
        for item in self._images.share(number, n_shares):
            items.append(item)
            if len(items) == self._batch_size:
                yield self._images.report(number), self._collate(items)
                items = []
        yield self._images.report(number), self._collate(items) if items and not self._drop_last else None


def by_name(items: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch of items: their pixels one behind the other, where all are of one shape; of all else a list."""
    batch: dict[str, Any] = {name: [item[name] for item in items] for name in items[0]}
    for name, values in batch.items():
        if all(isinstance(value, torch.Tensor) and value.shape == values[0].shape for value in values):
            batch[name] = torch.stack(values)
    return batch


def as_it_is(batch: Any) -> Any:
    """The batch, which a worker has made by itself."""
    return batch
