"""Scans of several files on the share: each that belongs to another counts, whichever comes first."""

import hashlib
import json
import tarfile
import zipfile
from datetime import timedelta
from html import unescape
from io import BytesIO
from itertools import product

import h5py
import numpy as np
import pytest

import containers.decompress.__main__ as decompress
from raki.options import Options
from raki.phantom import phantom_kspace
from raki.service.ledger import State
from tests.formats.bruker.bruker_files import experiment
from tests.formats.philips.philips_files import phantom_images, scan_2d
from tests.service.dropping import KEY, deliver, read, work


def pair(kind, seed=0):
    """A scan of two files: the one that leads, and its companion; by their endings."""
    kspace = np.random.default_rng(seed).standard_normal((1, 3, 24, 24, 2), dtype=np.float32).view(np.complex64)[..., 0]
    if kind == "numpy":
        content = BytesIO()
        np.save(content, kspace)
        return {".npy": content.getvalue(), ".json": b'{"axes": "slice coil pe ro"}'}
    if kind == "philips":
        return dict(zip((".list", ".data"), scan_2d(phantom_images(2, 3, 24, seed=seed)).content(), strict=True))
    shape = [24, 24, 1, 3] + 12 * [1]
    samples = kspace[0].transpose(2, 1, 0)[:, :, None, :]
    header = "# Dimensions\n" + " ".join(map(str, shape)) + "\n"
    return {".hdr": header.encode(), ".cfl": samples.tobytes(order="F")}


def states_of_pairs(site):
    """Of all their versions, by their arrival."""
    found = [scan for scan in site.ledger.scans() if "pair" in scan.raw_key]
    return [scan.state for scan in sorted(found, key=lambda scan: scan.entered_at[State.ARRIVED])]


@pytest.mark.parametrize(
    ("kind", "comes_first"),
    [*product(["numpy", "bart"], ["lead", "companion", "both"]), ("philips", "companion")],
)
def test_a_scan_of_two_files_is_one_scan_whichever_comes_first(site, worker, job, kind, comes_first):
    job._options = Options(method="zero_filled")
    (lead, first), (companion, second) = pair(kind).items()
    files = [(f"a/pair{lead}", first), (f"a/pair{companion}", second)]
    if comes_first == "companion":
        files.reverse()
    deliver(site, *files[0])
    if comes_first != "both":
        worker._stage.serve(worker._handle, wait_s=0, until_empty=True)
        assert State.PREPARED not in states_of_pairs(site)
    deliver(site, *files[1])
    work(site, worker, job)
    assert states_of_pairs(site)[-1] is State.RECONSTRUCTED
    provenance = json.loads(read(site, "provenance.json", "a/pair"))
    digest = hashlib.sha256(first + second).hexdigest()
    assert provenance["input"] == {"sha256": digest, "n_bytes": len(first) + len(second)}


def test_what_lacks_its_companion_for_long_says_so_and_is_taken_up_when_that_comes(site, worker, job, monkeypatch):
    job._options = Options(method="zero_filled")
    files = pair("bart")
    deliver(site, "a/pair.hdr", files[".hdr"])
    monkeypatch.setattr(decompress, "COPYING", timedelta(0))
    work(site, worker, job)
    (scan,) = [scan for scan in site.ledger.scans() if "pair" in scan.raw_key]
    assert (scan.state, scan.failure_class) == (State.FAILED, "UnsupportedScan")
    assert "needs a .cfl of the same name beside it" in scan.failure
    deliver(site, "a/pair.cfl", files[".cfl"])
    work(site, worker, job)
    assert states_of_pairs(site) == [State.FAILED, State.RECONSTRUCTED]
    assert json.loads(read(site, "manifest.json", "a/pair"))["outcome"] == "reconstructed"


def test_new_samples_beside_the_same_header_are_a_new_result(site, worker, job):
    job._options = Options(method="zero_filled")
    images = []
    for seed in (1, 2):
        for ending, content in pair("bart", seed).items():
            deliver(site, f"a/pair{ending}", content)
        work(site, worker, job)
        images.append(read(site, "image.h5", "a/pair"))
    assert images[0] != images[1]


def test_an_archive_needs_nothing_beside_it(site, worker, job):
    job._options = Options(method="zero_filled")
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for ending, content in pair("bart").items():
            member = tarfile.TarInfo(f"x{ending}")
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    deliver(site, "a/pair.hdr", packed.getvalue())
    work(site, worker, job)
    assert states_of_pairs(site) == [State.RECONSTRUCTED]


def test_a_folder_of_bruker_comes_packed_and_is_told_so(site, worker, job):
    job._options = Options(method="zero_filled")
    kspace = 1e6 * phantom_kspace(n_slices=2, n_coils=3, matrix=24)
    made = experiment(
        lambda number, echo, other, repetition, step, partition: kspace[number, :, step + 12],
        n_receivers=3,
        n_read=24,
        steps=list(range(-12, 12)),
        offsets_mm=[(0, 0, 0), (0, 0, 2)],
    )
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in made.files().items():
            archive.writestr(f"study/5/{name}", content)
    deliver(site, "a/pair.zip", packed.getvalue())
    for name, content in made.files().items():
        deliver(site, f"pair/5/{name}", content)
    work(site, worker, job)
    states = {scan.raw_key: scan for scan in site.ledger.scans() if "pair" in scan.raw_key}
    assert {key: scan.state for key, scan in states.items()} == {
        "a/pair.zip": State.RECONSTRUCTED,
        "pair/5/acqp": State.FAILED,
    }
    assert (
        "pack the folder of the experiment, with fid or rawdata.job0, as one zip or tar"
        in states["pair/5/acqp"].failure
    )


@pytest.fixture
def apart(raw, tmp_path):
    """The raw file's image and its noise scan, each as a file of its own."""
    found = []
    for name in ("image", "noise"):
        with h5py.File(raw) as file, h5py.File(tmp_path / name, "w") as alone:
            rows = file["dataset/data"][:]
            is_noise = rows["head"]["flags"] & np.uint64(1 << 18) != 0
            alone.create_dataset("dataset/xml", data=file["dataset/xml"][:], dtype=h5py.special_dtype(vlen=bytes))
            alone.create_dataset("dataset/data", data=rows[is_noise if name == "noise" else ~is_noise])
        found.append((tmp_path / name).read_bytes())
    return found


def remarks_on(site, folder):
    return " ".join(json.loads(read(site, "manifest.json", folder))["remarks"])


def is_whitened(site, folder):
    return "No noise scan" not in " ".join(json.loads(read(site, "provenance.json", folder))["notes"])


def ends(site):
    return {scan.raw_key: (scan.state, scan.failure_class) for scan in site.ledger.scans()}


def test_a_noise_scan_of_no_image_leaves_others_alone_and_gets_a_note(site, worker, job, apart):
    job._options = Options(method="zero_filled")
    deliver(site, "Elsewhere/noise.h5", apart[1])
    work(site, worker, job)
    assert ends(site) == {KEY: (State.RECONSTRUCTED, None), "Elsewhere/noise.h5": (State.FAILED, "NoiseAlone")}
    assert "raki reconstruct image.h5 noise.h5" in unescape(read(site, "note.html", "Elsewhere/noise").decode())


@pytest.mark.parametrize("noise_name", ["a/image_noise.h5", "a/image-Noise.h5", "a/noise.h5"])
def test_an_image_has_the_noise_scan_that_lies_beside_it(site, worker, job, apart, noise_name):
    job._options = Options(method="zero_filled")
    image, noise = apart
    site.s3.put_object(Bucket=site.bucket, Key=noise_name, Body=noise)
    deliver(site, "a/image.h5", image)
    work(site, worker, job)
    is_as_written = "N" not in noise_name  # S3 tells apart what a Windows client of the share doesn't
    assert is_whitened(site, "a/image") == is_as_written
    provenance = json.loads(read(site, "provenance.json", "a/image"))
    both = image + noise if is_as_written else image
    assert provenance["input"] == {"sha256": hashlib.sha256(both).hexdigest(), "n_bytes": len(both)}


def test_noise_that_comes_after_its_image_was_reconstructed_has_it_done_again(site, worker, job, apart):
    job._options = Options(method="zero_filled")
    image, noise = apart
    deliver(site, "a/image.h5", image)
    work(site, worker, job)
    assert not is_whitened(site, "a/image")
    deliver(site, "a/image_noise.h5", noise)
    work(site, worker, job)
    assert is_whitened(site, "a/image")
    assert ends(site)["a/image_noise.h5"] == (State.FAILED, "NoiseAlone")


@pytest.mark.parametrize("beside", ["an image", "nothing that raki reads"])
def test_what_is_only_named_like_a_noise_scan_is_left_out_and_named(site, worker, job, apart, raw, beside):
    job._options = Options(method="zero_filled")
    deliver(site, "a/image_noise.h5", raw.read_bytes() if beside == "an image" else b"Dear grandma, ...")
    deliver(site, "a/image.h5", apart[0])
    work(site, worker, job)
    assert not is_whitened(site, "a/image")
    assert "named as its noise scan holds none" in remarks_on(site, "a/image")
    expected = (State.RECONSTRUCTED, None) if beside == "an image" else (State.FAILED, "NotAScan")
    assert ends(site)["a/image_noise.h5"] == expected


def test_a_scan_with_noise_of_its_own_keeps_to_that(site, worker, job, raw, apart):
    job._options = Options(method="zero_filled")
    images = []
    for folder in ("a", "b"):
        deliver(site, f"{folder}/image.h5", raw.read_bytes())
        work(site, worker, job)
        images.append(read(site, "image.h5", f"{folder}/image"))
        site.s3.put_object(Bucket=site.bucket, Key="b/noise.h5", Body=apart[1][:-1] + b"x")
    assert images[0] == images[1]
    assert "noise" not in remarks_on(site, "b/image")


@pytest.mark.parametrize("what", ["removed", "replaced by other noise", "replaced by a letter"])
def test_an_image_is_done_though_its_noise_changes_before_it_is_read(site, worker, job, apart, monkeypatch, what):
    job._options = Options(method="zero_filled")
    image, noise = apart
    beside = {"Bucket": site.bucket, "Key": "a/image_noise.h5"}
    site.s3.put_object(**beside, Body=noise)
    deliver(site, "a/image.h5", image)
    original, looks = worker._noise, []

    def changed_just_now(*arguments):
        if arguments[0].key == "a/image.h5" and not looks:
            looks.append(what)
            if what == "removed":
                site.s3.delete_object(**beside)
            else:
                site.s3.put_object(**beside, Body=noise + b"x" if "noise" in what else b"Dear grandma, ...")
        return original(*arguments)

    monkeypatch.setattr(worker, "_noise", changed_just_now)
    work(site, worker, job)
    assert looks
    assert json.loads(read(site, "manifest.json", "a/image"))["outcome"] == "reconstructed"
    assert is_whitened(site, "a/image") == ("noise" in what)
    of_image = [scan for scan in site.ledger.scans() if scan.raw_key == "a/image.h5"]
    assert sorted((scan.state, scan.failure_class) for scan in of_image) == [
        (State.FAILED, "Superseded"),
        (State.RECONSTRUCTED, None),
    ]


def test_noise_of_fewer_coils_is_left_out_and_named(site, worker, job, apart, tmp_path):
    job._options = Options(method="zero_filled")
    image, noise = apart
    with h5py.File(BytesIO(noise)) as file, h5py.File(tmp_path / "fewer", "w") as fewer:
        rows, xml = file["dataset/data"][:], file["dataset/xml"][0]
        n_coils = int(rows["head"]["active_channels"][0])
        rows["head"]["active_channels"] = rows["head"]["available_channels"] = n_coils - 1
        for row in rows:
            row["data"] = row["data"][: len(row["data"]) // n_coils * (n_coils - 1)]
        xml = xml.replace(b"</ismrmrdHeader>", b"<!-- of another day --></ismrmrdHeader>")
        fewer.create_dataset("dataset/xml", data=[xml], dtype=h5py.special_dtype(vlen=bytes))
        fewer.create_dataset("dataset/data", data=rows)
    site.s3.put_object(Bucket=site.bucket, Key="a/image_noise.h5", Body=(tmp_path / "fewer").read_bytes())
    deliver(site, "a/image.h5", image)
    work(site, worker, job)
    assert json.loads(read(site, "manifest.json", "a/image"))["outcome"] == "reconstructed"
    assert not is_whitened(site, "a/image")
    assert "The noise scan was not used" in remarks_on(site, "a/image")


def test_an_image_that_is_called_noise_is_an_image(site, worker, job, apart):
    job._options = Options(method="zero_filled")
    deliver(site, "a/noise.h5", apart[0])
    work(site, worker, job)
    assert ends(site)["a/noise.h5"] == (State.RECONSTRUCTED, None)
