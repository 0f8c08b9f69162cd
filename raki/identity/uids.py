"""The UIDs by which DICOM knows what raki writes: they depend on the raw file and on what was asked for, on no pixel.

The same again has the same UIDs, so that a viewer or archive replaces what it has; another way to reconstruct the same
scan is a series of its own. Standard library only: who is told a UID finds the image without reading any.
"""

from raki.identity.person import derived_uid


def single_series_uid(scan_key: str, method: str, combination: str, n_virtual_coils: int | None, seed: int) -> str:
    """Of the series that has a file for each image.

    Args:
        scan_key: tells scans apart, and is the same for one scan: the raw file's SHA-256.
    """
    return derived_uid("series", scan_key, method, combination, str(n_virtual_coils), str(seed))


def framed_series_uid(single_uid: str) -> str:
    """Of the series of files with many frames: beside the single images it would be the same images twice in one."""
    return derived_uid("series", single_uid, "frames")


def image_uid(single_uid: str, image: int) -> str:
    """Of the file of one image, counted from 0."""
    return derived_uid("image", single_uid, str(image))


def volume_uid(series_uid: str, file: int) -> str:
    """Of the file of this number, from 1, in a series of files with many frames."""
    return derived_uid("volume", series_uid, str(file))
