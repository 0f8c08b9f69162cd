"""What is said of a scan beside its images: what was decided while it was read, what it lacks, what was chosen."""

from collections.abc import Iterator

from raki.images import Reconstruction, ScanSummary
from raki.inspection.remarks import about_scan


def notes_of(reconstruction: Reconstruction) -> tuple[str, ...]:
    """Sentences, each once; all that `raki inspect` remarks on the scan among them."""
    scan = reconstruction.scan
    first, end = scan.acs_lines or (0, 0)
    lacking = about_scan(
        scan.header_xml,
        has_noise=scan.prewhitened,
        acceleration=scan.acceleration,
        n_acs_lines=scan.n_acs_lines_apart or end - first,
        n_coils=scan.n_coils,
    )
    return tuple(dict.fromkeys((*scan.remarks, *about_places(scan), *lacking, *reconstruction.notes)))


def about_places(scan: ScanSummary) -> Iterator[str]:
    """On images that don't lie on one even grid, which viewers and NIfTI take for granted."""
    places = scan.geometry.places
    if not places:
        return
    if len(places) > scan.n_slices:
        yield (
            "The frames don't lie in the same places. Each image in image.h5, and each in DICOM, says where it lies; "
            "NIfTI knows one grid for all frames, so none is written."
        )
        return
    n_files = len(list(scan.geometry.stacks(scan.n_slices)))
    yield (
        "The slices don't lie on one even grid: gaps differ, or slices are tilted against each other. Each image in "
        "image.h5, and each in DICOM, says where it lies; NIfTI knows one grid a file, so there are "
        f"{n_files}, numbered."
    )
