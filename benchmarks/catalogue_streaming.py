"""A cohort from a bucket: moto's S3 in a process of its own, over HTTP; read directly, and through the local disk."""

import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import boto3
import h5py
import numpy as np
import pyarrow as pa

import raki.catalogue
from raki.catalogue.schema import ROWS_FILE
from raki.manifest import MANIFEST

BUCKET = "a-cohort"
IMAGES_OF_A_FILE = 16
SHAPE = (IMAGES_OF_A_FILE, 1, 1, 256, 256)
COMPUTE_S = 0.004
BATCH_SIZE = 8
N_WORKERS = 2
IMAGES_READ_APART = 64
START_S = 60


def streaming(root: Path, row: dict[str, Any], n_files: int) -> dict[str, Any]:
    """Images a second and what part of the time there is nothing to compute on, by the way they are read."""
    _make(root / "made", row, n_files)
    with _bucket() as place:
        n_bytes = _upload(root / "made")
        with raki.catalogue.open(place) as opened:
            cohort = opened.cohort()
        rates = {name: _rate(images()) for name, images in _ways(root, place, cohort).items()}
        idle = {name: _idle(images()) for name, images in _ways(root, place, cohort).items()}
        killed = _killed(root, place, cohort)
    return {
        "n_images": cohort.num_rows,
        "n_files": n_files,
        "n_bytes_of_a_file": n_bytes // n_files,
        "compute_s": COMPUTE_S,
        "n_workers": N_WORKERS,
        "ways": {name: {"images_per_s": rates[name], "idle_share": idle[name]} for name in rates},
        **killed,
    }


def _make(root: Path, row: dict[str, Any], n_files: int) -> None:
    for number in range(n_files):
        folder = root / f"scan{number}"
        folder.mkdir(parents=True)
        with h5py.File(folder / "image.h5", "w") as file:
            file["dataset/image_0/data"] = np.random.default_rng(number).random(SHAPE, np.float32)
        told = {"result_id": f"scan-{number}", "scan_id": f"scan-{number}", "n_slices": IMAGES_OF_A_FILE, "n_frames": 1}
        told["image_sha256"] = hashlib.sha256((folder / "image.h5").read_bytes()).hexdigest()
        rows = [{**row, **told, "image": image, "slice": image} for image in range(IMAGES_OF_A_FILE)]
        (folder / ROWS_FILE).write_text("".join(json.dumps(each) + "\n" for each in rows))
        (folder / MANIFEST).write_text("{}")


@contextmanager
def _bucket() -> Iterator[str]:
    """An empty bucket of a server that is alone in its process; what reads it finds it by the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    kept = dict(os.environ)
    with (
        tempfile.TemporaryDirectory() as cache,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server,
    ):
        try:
            os.environ |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "local")
            os.environ |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
            os.environ["XDG_CACHE_HOME"] = cache
            _wait_for(port)
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            yield f"s3://{BUCKET}"
        finally:
            server.kill()
            os.environ.clear()
            os.environ.update(kept)


def _wait_for(port: int) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def _upload(root: Path) -> int:
    """Puts all files into the bucket; how many bytes the images have."""
    s3, n_bytes = boto3.client("s3"), 0
    for file in sorted(root.rglob("*.*")):
        s3.upload_file(str(file), BUCKET, file.relative_to(root).as_posix())
        n_bytes += file.stat().st_size if file.suffix == ".h5" else 0
    return n_bytes


def _ways(root: Path, place: str, cohort: pa.Table) -> dict[str, Callable[[], Iterator[int]]]:
    """By name, what hands images over: each time, how many."""
    made, local = root / "made", root / "local"
    shuffled = np.random.default_rng(0).permutation(cohort.num_rows)
    images = raki.catalogue.stream(cohort, place, local=local / "one", seed=1)
    batched = raki.catalogue.stream(cohort, place, local=local / "several", seed=1)

    def anew(folder: str, passed: Callable[[], Iterator[int]]) -> Iterator[int]:
        shutil.rmtree(local / folder, ignore_errors=True)
        yield from passed()

    def one() -> Iterator[int]:
        return (1 for _ in images)

    def several() -> Iterator[int]:
        return (len(batch["number"]) for batch in batched.batches(BATCH_SIZE, n_workers=N_WORKERS))

    return {
        "an object for each image": lambda: _each_image(cohort, shuffled[:IMAGES_READ_APART]),
        "object after object": lambda: _file_after_file(cohort),
        "stream, first pass": lambda: anew("one", one),
        "stream, second pass": one,
        f"batches of {N_WORKERS} workers, first pass": lambda: anew("several", several),
        f"batches of {N_WORKERS} workers, second pass": several,
        "local files, image by image": lambda: _from_disk(made, cohort, shuffled),
    }


def _keys(cohort: pa.Table) -> list[tuple[str, int]]:
    folders, numbers = (cohort.column(name).to_pylist() for name in ("folder", "image"))
    return [(f"{folder}/image.h5", number) for folder, number in zip(folders, numbers, strict=True)]


def _each_image(cohort: pa.Table, order: Iterable[int]) -> Iterator[int]:
    """As a data set with an index does it that knows of no neighbors."""
    s3, keys = boto3.client("s3"), _keys(cohort)
    for index in order:
        key, number = keys[index]
        with h5py.File(io.BytesIO(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())) as file:
            _ = file["dataset/image_0/data"][number]
        yield 1


def _file_after_file(cohort: pa.Table) -> Iterator[int]:
    s3 = boto3.client("s3")
    for key in dict.fromkeys(key for key, _ in _keys(cohort)):
        with h5py.File(io.BytesIO(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())) as file:
            for _ in file["dataset/image_0/data"][:]:
                yield 1


def _from_disk(root: Path, cohort: pa.Table, order: Iterable[int]) -> Iterator[int]:
    """The disk's own speed, as far as the system doesn't have the files in memory."""
    keys = _keys(cohort)
    for index in order:
        key, number = keys[index]
        with h5py.File(root / key) as file:
            _ = file["dataset/image_0/data"][number]
        yield 1


def _rate(images: Iterator[int]) -> float:
    """Images a second where nothing is computed on them."""
    began = time.perf_counter()
    n_images = sum(images)
    return n_images / (time.perf_counter() - began)


def _idle(images: Iterator[int]) -> float:
    """Which part of a pass there was nothing to compute on."""
    began, idle = time.perf_counter(), 0.0
    while True:
        asked = time.perf_counter()
        n_images = next(images, 0)
        idle += time.perf_counter() - asked
        if n_images == 0:
            return idle / (time.perf_counter() - began)
        time.sleep(COMPUTE_S * n_images)


def _killed(root: Path, place: str, cohort: pa.Table) -> dict[str, Any]:
    """A training by several workers is killed half way and goes on: whether each image came once."""
    told, local = root / "told", root / "killed"
    told.touch()
    process = get_context("fork").Process(target=train, args=(place, cohort, local, told))
    process.start()
    while process.is_alive() and sum(len(step["had"]) for step in _steps(told)) < cohort.num_rows // 2:
        time.sleep(0.02)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    steps = _steps(told)
    images = raki.catalogue.stream(cohort, place, local=local, seed=1)
    images.load_state_dict(steps[-1]["state"])
    rest = [each for batch in images.batches(BATCH_SIZE, n_workers=N_WORKERS) for each in _ids(batch)]
    had = [tuple(each) for step in steps for each in step["had"]]
    return {
        "n_before_killed": len(had),
        "n_after": len(rest),
        "resumed_whole": len(had) + len(rest) == len({*had, *rest}) == cohort.num_rows,
        "n_fetched_after_resumption": images.n_fetched,
    }


def train(place: str, cohort: pa.Table, local: Path, told: Path) -> None:
    """A line for each batch: what it had, and the state behind it."""
    images = raki.catalogue.stream(cohort, place, local=local, seed=1)
    with told.open("a") as file:
        for batch in images.batches(BATCH_SIZE, n_workers=N_WORKERS):
            file.write(json.dumps({"had": _ids(batch), "state": images.state_dict()}) + "\n")
            file.flush()
            time.sleep(COMPUTE_S * BATCH_SIZE)


def _ids(batch: dict[str, Any]) -> list[tuple[str, int]]:
    return list(zip(batch["scan_id"], batch["number"], strict=True))


def _steps(told: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told.read_text().splitlines(keepends=True) if line.endswith("\n")]
