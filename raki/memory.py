"""A reconstruction that fits into the memory there is: fewer slices at a time, no GPU, or a sentence.

Nothing is left to the kernel's killer: a scan that it kills is tried again, and killed again, and nobody learns why.
"""

import logging
from collections.abc import Callable

import numpy as np
import torch

from raki.errors import TooLarge, UnsupportedScan
from raki.images import Keep, Progress, Reconstruction, StoredModel, reconstruct_as
from raki.inspection.memory import Extent
from raki.options import Chosen
from raki.planning import PointSampling, ScatteredSampling, find_plane_sampling
from raki.sandbox import memory_limit
from raki.scan import Scan
from raki.scan.arrays import LineMask, PointMask

LOG = logging.getLogger("raki.memory")

MARGIN = 1.3
"""What is reckoned is right to a quarter: only what exceeds the limit by more is refused."""


SHARE_BESIDE = 0.1
"""Of the memory there is, what images may take that are being written while the next are computed."""


def is_large(reconstruction: Reconstruction) -> bool:
    """Whether its images and weights take too much memory for another scan to be computed beside them."""
    volumes = [*reconstruction.images.values(), *reconstruction.maps.values(), *reconstruction.explanation.values()]
    if reconstruction.phase is not None:
        volumes.append(reconstruction.phase)
    n_bytes = sum(volume.nbytes for volume in volumes)
    return n_bytes + sum(each.coefficients.nbytes for each in reconstruction.weights) > SHARE_BESIDE * memory_limit()


def extent_of(scan: Scan, *, is_explained: bool = False) -> Extent:
    """What of a prepared scan decides how much memory it takes."""
    _, n_coils, n_pe, n_ro = scan.kspace.shape
    n_images = len(scan.frames) * scan.groups.n_slices if scan.groups else len(scan.kspace)
    n_rows, n_columns = scan.geometry.matrix
    sampling = _sampling(scan)
    return Extent(
        n_coils=n_coils,
        n_pe=n_pe,
        n_ro=n_ro,
        n_images=n_images,
        n_pixels=n_rows * n_columns,
        has_gaps=_has_gaps(scan.sampled) if sampling is None else sampling.acceleration > 1,
        is_scattered=isinstance(sampling, ScatteredSampling),
        is_explained=is_explained,
    )


def _sampling(scan: Scan) -> PointSampling | ScatteredSampling | None:
    """Of the planes of a 3-D scan; None of a 2-D one, and where raki will refuse them."""
    if scan.slab is None:
        return None
    try:
        return find_plane_sampling(scan.sampled if scan.sampled_by_frame is None else scan.sampled_by_frame)
    except UnsupportedScan:
        return None


def _has_gaps(sampled: LineMask | PointMask) -> bool:
    lines = np.flatnonzero(sampled.any(axis=1) if sampled.ndim == 2 else sampled)
    return bool(len(lines) < lines[-1] + 1 - lines[0])


def slices_at_once(extent: Extent, limit_bytes: int, most: int) -> int:
    """How many slices may be under way at the same time, `most` at the most.

    Raises:
        TooLarge: not even one.
    """
    fitting = [number for number in range(most, 0, -1) if extent.bytes_needed(number) <= limit_bytes]
    if fitting:
        return fitting[0]
    needed = extent.bytes_needed(1)
    if needed > MARGIN * limit_bytes:
        raise TooLarge(
            f"the reconstruction takes about {needed / 2**30:.1f} GiB of memory, for {extent.n_coils} coils, "
            f"{extent.n_pe} by {extent.n_ro} samples and {extent.n_images} images; the job has "
            f"{limit_bytes / 2**30:.1f} GiB. Ask for fewer coils in a raki.toml beside the scan (coils = 16), or run "
            "`raki reconstruct` on a larger machine"
        )
    return 1


def reconstruct_within(
    chosen: Chosen,
    scan: Scan,
    progress: Progress,
    reconstruct: Callable[..., Reconstruction] = reconstruct_as,
    *,
    model: StoredModel | None = None,
    keep: Keep | None = None,
) -> Reconstruction:
    """Reconstructs with as many slices at once as fit; where the GPU's memory doesn't do, on the processor.

    Raises:
        TooLarge: the scan takes more memory than there is. Otherwise as `raki.images.reconstruct_as`.
    """
    n_threads = torch.get_num_threads()
    extent = extent_of(scan, is_explained=chosen.options.explain)
    fitting = slices_at_once(extent, memory_limit(), n_threads)
    if fitting < n_threads:
        LOG.info("fewer slices at a time", extra={"n_at_once": fitting})
    torch.set_num_threads(fitting)
    try:
        return reconstruct(chosen, scan, model=model, keep=keep, progress=progress)
    except torch.OutOfMemoryError:
        LOG.warning("the GPU's memory doesn't do; once more on the processor")
        torch.cuda.empty_cache()
    finally:
        torch.set_num_threads(n_threads)
    return reconstruct(chosen, scan, device="cpu", model=model, keep=keep, progress=progress)
