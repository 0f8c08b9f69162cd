"""Batches that several processes make: each image once a pass, and again so where all of them were killed."""

import json
import os
import signal
import time
from multiprocessing import get_context

import pytest
import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import raki.catalogue
from raki.catalogue import compact, stream
from raki.catalogue.batching import by_name
from tests.catalogue.delivered import deliver

FORK = {"multiprocessing_context": "fork"}
EACH = [(f"scan-{scan}", image) for scan in range(5) for image in range(3)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    for number in range(5):
        deliver(root, f"scan{number}", scan_id=f"scan-{number}", seed=number, with_images=True)
    compact(root)
    return root


@pytest.fixture
def opened(root, tmp_path):
    with raki.catalogue.open(root) as catalogue:
        cohort = catalogue.cohort()

    def of(**arguments):
        return stream(cohort, root, local=tmp_path / "local", **{"seed": 3, "mix": 2, "prefetch": 2, **arguments})

    return of


def ids(items):
    return [(item["scan_id"], item["number"]) for item in items]


def of(images, batch_size=2, **arguments):
    context = FORK if arguments.get("n_workers") else {}
    return images.batches(batch_size, collate=ids, **context, **arguments)


def seen(batches):
    return [each for batch in batches for each in batch]


@pytest.mark.parametrize("n_workers", [0, 2])
def test_each_image_comes_once_a_pass_in_another_order(opened, n_workers):
    images = opened()
    passes = [seen(of(images, n_workers=n_workers)) for _ in range(2)]
    assert [sorted(each) for each in passes] == [EACH, EACH]
    assert passes[0] != passes[1]
    assert images.epoch == 2
    assert images.n_fetched == 5, "the second pass reads the local disk"
    assert images.state_dict()["positions"] == [0]


def test_a_batch_has_pixels_in_one_tensor_and_lists_of_all_else(opened):
    batch = next(opened(seed=None, columns=("acceleration",)).batches(4))
    assert batch["image"].shape == (4, 32, 40)
    assert batch["number"] == [0, 1, 2, 0]
    assert batch["labels"] == [[]] * 4
    assert batch["acceleration"] == [4] * 4
    pictures = by_name([{"image": torch.zeros(2, 3)}, {"image": torch.zeros(3, 2)}])["image"]
    assert [picture.shape for picture in pictures] == [(2, 3), (3, 2)], "of two matrices"


def train(opened, told, n_workers):
    """What a training does until it is killed: each step is noted, and then the state."""
    images = opened()
    with told.open("a") as file:
        for batch in of(images, n_workers=n_workers):
            file.write(json.dumps({"had": batch, "state": images.state_dict()}) + "\n")
            file.flush()
            time.sleep(0.05)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_training_that_is_killed_with_its_workers_goes_on_with_what_it_had_not_seen(opened, tmp_path, n_workers):
    told = tmp_path / "told"
    told.touch()
    process = get_context("fork").Process(target=train, args=(opened, told, n_workers))
    process.start()
    while len(told.read_text().splitlines()) < 3:
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    steps = [json.loads(line) for line in told.read_text().splitlines()]
    had = [tuple(each) for step in steps for each in step["had"]]
    state = steps[-1]["state"]
    assert len(state["positions"]) == max(1, n_workers)
    resumed = opened()
    resumed.load_state_dict(state)
    rest = seen(of(resumed, n_workers=n_workers))
    assert 0 < len(rest) < 15
    assert sorted(had + rest) == EACH
    assert resumed.epoch == 1
    whole = opened()
    _, second = (seen(of(whole, n_workers=n_workers)) for _ in range(2))
    assert seen(of(resumed, n_workers=n_workers)) == second, "and the next pass is as ever"


def test_a_state_within_a_pass_is_for_as_many_workers(opened):
    images = opened()
    batches = of(images, n_workers=2)
    next(batches)
    state = images.state_dict()
    batches.close()
    for other in (0, 3):
        resumed = opened()
        resumed.load_state_dict(state)
        with pytest.raises(ValueError, match="the pass was begun by 2 workers"):
            next(of(resumed, n_workers=other))
    list(of(images, n_workers=2))
    resumed = opened()
    resumed.load_state_dict(images.state_dict())
    assert sorted(seen(of(resumed, n_workers=1))) == EACH, "at the beginning of a pass any number will do"


def test_what_workers_pass_over_is_named(root, opened, tmp_path):
    file = root / "scan2/image.h5"
    whole = file.read_bytes()
    file.write_bytes(whole[:-10] + b"0123456789")
    images = opened()
    assert sorted(seen(of(images, n_workers=2))) == [each for each in EACH if each[0] != "scan-2"]
    assert images.damaged.keys() == {"scan2/image.h5"}
    assert images.epoch == 1
    file.write_bytes(whole)


def test_a_short_batch_is_left_out_where_that_is_asked_for(opened):
    sizes = [len(batch) for batch in of(opened(), 4, drop_last=True)]
    assert sizes == [4, 4, 4]
    with pytest.raises(ValueError, match="at least 1 was needed"):
        next(opened().batches(0))


def test_a_loader_of_ones_own_alone_knows_how_far_its_workers_are(opened):
    images = opened()
    list(DataLoader(images, batch_size=None, num_workers=2, **FORK))
    with pytest.raises(ValueError, match="take them from `batches`"):
        images.state_dict()


def stateful(images, batch_size):
    return StatefulDataLoader(images, batch_size=batch_size, collate_fn=ids, num_workers=2, **FORK)


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
@pytest.mark.parametrize(("batch_size", "n_batches"), [(2, 1), (2, 5), (2, 7), (1, 14)])
def test_a_stateful_loader_asks_the_images_in_its_workers(opened, batch_size, n_batches):
    """Of the last one a worker is through with its share, and may not begin the next pass before the other is."""
    loader = stateful(opened(), batch_size)
    had = [batch for _, batch in zip(range(n_batches), loader, strict=False)]
    state = loader.state_dict()
    resumed = stateful(opened(), batch_size)
    resumed.load_state_dict(state)
    assert sorted(seen(had) + seen(resumed)) == EACH
