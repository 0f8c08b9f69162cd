"""Batches that several processes make, and how far each of them is: what `CohortStream.batches` is made of."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

if TYPE_CHECKING:
    from raki.catalogue.streaming import CohortStream


@dataclass(frozen=True)
class Report:
    """How far a worker is with its share."""

    share: int
    position: int
    damaged: Mapping[str, str]
    waited_s: float
    n_fetched: int


class Batched(IterableDataset[tuple[Report, Any]]):
    """Batches of a worker's share, each with how far it then is; at the end, without a batch, how far it came."""

    def __init__(
        self,
        images: "CohortStream",
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
        for item in self._images._share(number, n_shares):
            items.append(item)
            if len(items) == self._batch_size:
                yield self._report(number), self._collate(items)
                items = []
        yield self._report(number), self._collate(items) if items and not self._drop_last else None

    def _report(self, share: int) -> Report:
        images = self._images
        return Report(share, images._positions[share], dict(images.damaged), images.waited_s, images.n_fetched)


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
