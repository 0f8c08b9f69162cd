"""A cohort's images come in an order that a seed decides, from the local disk the second time, and resumable."""

import itertools
import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import raki.catalogue
from raki.catalogue import Staging, compact, stream
from raki.catalogue.staging import Folder, NoRoom
from raki.formats import read_scan
from raki.phantom import simulate_scan
from raki.prepare import preprocess
from raki.scan.prepared import write_prepared
from tests.catalogue.delivered import deliver

N_BYTES_OF_A_FILE = 3 * 32 * 40 * 4


@pytest.fixture
def root(tmp_path):
    for number in range(5):
        deliver(tmp_path / "results", f"scan{number}", scan_id=f"scan-{number}", seed=number, with_images=True)
    compact(tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def cohort(root):
    with raki.catalogue.open(root) as opened:
        return opened.cohort()


def seen(images):
    return [(image["scan_id"], image["number"]) for image in images]


def opened(cohort, root, tmp_path, **arguments):
    return stream(cohort, root, local=tmp_path / "local", **{"seed": 3, "mix": 2, "prefetch": 2, **arguments})


def test_each_image_comes_once_as_it_stands_in_the_result(cohort, root, tmp_path):
    images = list(opened(cohort, root, tmp_path, columns=("acceleration",)))
    assert sorted(seen(images)) == [(f"scan-{scan}", image) for scan in range(5) for image in range(3)]
    assert {image["acceleration"] for image in images} == {4}
    for scan in range(5):
        expected = torch.from_numpy(np.random.default_rng(scan).random((3, 1, 1, 32, 40))).float()
        for image in images:
            if image["scan_id"] == f"scan-{scan}":
                torch.testing.assert_close(image["image"], expected[image["number"], 0, 0])


def test_the_order_is_the_seeds_and_the_passs(cohort, root, tmp_path):
    first, again, other = (opened(cohort, root, tmp_path, seed=seed) for seed in (3, 3, 4))
    passes = [seen(first), seen(first)]
    assert [seen(again), seen(again)] == passes
    assert passes[0] != passes[1]
    assert seen(other) != passes[0]
    in_order = seen(opened(cohort, root, tmp_path, seed=None))
    assert in_order == sorted(in_order)


def test_the_second_pass_and_the_next_process_read_the_local_disk(cohort, root, tmp_path):
    images = opened(cohort, root, tmp_path)
    list(images)
    assert images.n_fetched == 5
    list(images)
    assert images.n_fetched == 5
    later = opened(cohort, root, tmp_path)
    list(later)
    assert later.n_fetched == 0


@pytest.mark.parametrize("n_before", [0, 1, 7, 14, 15, 19])
def test_it_goes_on_where_it_was_killed(cohort, root, tmp_path, n_before):
    whole = opened(cohort, root, tmp_path)
    both = seen(whole) + seen(whole)
    killed = opened(cohort, root, tmp_path)
    had = seen(itertools.islice(itertools.chain(killed, killed), n_before))
    state = killed.state_dict()
    resumed = opened(cohort, root, tmp_path)
    resumed.load_state_dict(state)
    assert had + seen(resumed) + (seen(resumed) if n_before < 15 else []) == both
    for nowhere in ([], [-1], [99]):
        with pytest.raises(ValueError, match="it isn't one of this stream's"):
            opened(cohort, root, tmp_path).load_state_dict(state | {"positions": nowhere})
    with pytest.raises(ValueError, match="another cohort"):
        opened(cohort, root, tmp_path, seed=9).load_state_dict(state)


@pytest.mark.parametrize("slow", ["n_bytes", "fetch"])
def test_waiting_for_files_is_counted_whichever_way_they_are_late(cohort, root, tmp_path, monkeypatch, slow):
    as_ever = getattr(Folder, slow)

    late_calls = []

    def late(*arguments):
        late_calls.append(arguments)
        time.sleep(0.04)
        return as_ever(*arguments)

    monkeypatch.setattr(Folder, slow, late)
    images = opened(cohort, root, tmp_path, prefetch=0, mix=1)
    list(images)
    assert images.waited_s > 5 * 0.04
    assert images.waited_s > 0.9 * len(late_calls) * 0.04
    asked = len(late_calls)
    list(images)
    assert len(late_calls) == asked, "the second pass waits for nothing: it asks nobody"


def test_the_copies_never_take_more_than_the_limit(cohort, root, tmp_path):
    limit = 3 * (N_BYTES_OF_A_FILE + 4096)
    images = opened(cohort, root, tmp_path, limit_bytes=limit)
    for _ in images:
        assert sum(file.stat().st_size for file in (tmp_path / "local").iterdir() if file.exists()) <= limit
    assert len(list((tmp_path / "local").iterdir())) <= 3
    assert images.n_fetched == 5
    with pytest.raises(NoRoom, match="mix fewer"):
        list(opened(cohort, root, tmp_path, limit_bytes=N_BYTES_OF_A_FILE))


def test_the_file_used_longest_ago_goes_first(tmp_path):
    (tmp_path / "from").mkdir()
    for name in "abc":
        (tmp_path / "from" / name).write_bytes(b"x" * 100)
    staging = Staging(tmp_path / "to", Folder(tmp_path / "from"), limit_bytes=250)

    def used(name):
        n_before = staging.n_fetched
        staging.hold(name, "").result()
        staging.let_go(name, "")
        return staging.n_fetched > n_before

    assert [used(name) for name in "abacba"] == [True, True, False, True, True, True]
    staging.hold("a", "").result()
    staging.hold("b", "").result()
    with pytest.raises(NoRoom):
        staging.hold("c", "")
    staging.close()
    (tmp_path / "to/x.part").write_bytes(b"half")
    left = Staging(tmp_path / "to", Folder(tmp_path / "from"), limit_bytes=250)
    assert not (tmp_path / "to/x.part").exists()
    left.hold("b", "").result()
    assert left.n_fetched == 0
    left.close()


def test_a_file_that_is_missing_or_another_is_named_and_passed_over(cohort, root, tmp_path):
    (root / "scan1/image.h5").unlink()
    whole = (root / "scan3/image.h5").read_bytes()
    (root / "scan3/image.h5").write_bytes(whole[:-10] + b"0123456789")
    images = opened(cohort, root, tmp_path)
    assert {scan for scan, _ in seen(images)} == {"scan-0", "scan-2", "scan-4"}
    assert images.damaged.keys() == {"scan1/image.h5", "scan3/image.h5"}
    assert "another file than the catalogue says" in images.damaged["scan3/image.h5"]
    (root / "scan3/image.h5").write_bytes(whole)
    assert "scan-3" in {scan for scan, _ in seen(opened(cohort, root, tmp_path))}, "nothing wrong was kept"


def test_torch_takes_it_with_workers_of_its_own(cohort, root, tmp_path):
    loader = DataLoader(opened(cohort, root, tmp_path), batch_size=None, num_workers=2, multiprocessing_context="fork")
    assert sorted(seen(loader)) == [(f"scan-{scan}", image) for scan in range(5) for image in range(3)]


def test_prepared_scans_are_read_as_k_space(cohort, tmp_path):
    simulate_scan(tmp_path / "scan.h5", n_slices=3, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    scan = preprocess(read_scan(tmp_path / "scan.h5"))
    prepared = tmp_path / "prepared"
    (prepared / "scans").mkdir(parents=True)
    write_prepared(scan, prepared / "scans/scan-1.h5")
    (prepared / "scans/scan-2.h5").write_bytes(b"no HDF5")
    images = opened(cohort, prepared, tmp_path, what="prepared")
    found = {image["number"]: image["prepared"] for image in images if image["scan_id"] == "scan-1"}
    assert found.keys() == {0, 1, 2}
    for number, kspace in found.items():
        np.testing.assert_array_equal(kspace.numpy(), scan.kspace[number])
    assert len(images.damaged) == 4, "three that the bucket no longer has, and one that is no scan"


def test_a_cohort_without_places_is_refused(cohort, root, tmp_path):
    with pytest.raises(ValueError, match="lacks folder"):
        opened(cohort.drop_columns(["folder"]), root, tmp_path)
