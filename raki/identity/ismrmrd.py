"""ISMRMRD raw data without identity: a scrubbed header, and of the acquisitions what a reconstruction needs."""

from pathlib import Path

import numpy as np
from ismrmrd import xsd

from raki.errors import UnsupportedScan
from raki.formats.acquisitions import HEAD, Format
from raki.formats.ismrmrd.hdf5_writer import in_batches, write_hdf5
from raki.formats.ismrmrd.stream_writer import write_stream
from raki.identity.header import Policy, identity_in_header, scrub_header
from raki.identity.words import require_gone, telling_words
from raki.scan.header import parse_header

KEPT_FIELDS = (
    *("version", "flags", "scan_counter", "number_of_samples", "available_channels", "active_channels"),
    *("channel_mask", "discard_pre", "discard_post", "center_sample", "encoding_space_ref", "sample_time_us"),
    *("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position", "idx"),
)
"""Of an acquisition's head. The number of the measurement, clocks and the fields for a site's own use are left out."""

CARTESIAN = ("cartesian", "epi")


def scrub_ismrmrd(source: Path, target: Path, format_: Format, *, token: str, policy: Policy) -> None:
    """Writes header and acquisitions anew, in the source's format; nothing else that the file holds is copied.

    Samples that heads mark as to be discarded are, and so are trajectories, which a Cartesian scan doesn't need.

    Raises:
        DamagedScan: the file is broken.
        UnsupportedScan: a scan that its trajectory belongs to.
        IdentityLeft: a name of the hardware repeats what was taken out.
    """
    with format_.open(source) as acquisitions:
        header_xml = acquisitions.header_xml
        _require_cartesian(header_xml)
        scrubbed = scrub_header(header_xml, token, policy=policy)
        system = parse_header(header_xml).acquisitionSystemInformation
        maker = {system.systemVendor, system.systemModel} if system else set()
        require_gone(telling_words(identity_in_header(header_xml).known.values()) - maker - {token}, scrubbed.encode())
        heads = anonymous_heads(acquisitions.heads)
        samples = acquisitions.samples(np.arange(len(heads)))
        if format_.name == "ISMRMRD stream":
            write_stream(scrubbed, heads, samples, target)
        else:
            write_hdf5(scrubbed, in_batches(_without_discarded(heads), samples), target)


def anonymous_heads(heads: np.ndarray) -> np.ndarray:
    """The heads with `KEPT_FIELDS` alone; the clock starts at 0 with the first acquisition, its differences stay."""
    kept = np.zeros(len(heads), HEAD)
    for name in KEPT_FIELDS:
        kept[name] = heads[name]
    if len(heads):
        # Wraps around, as the scanner's counter does.
        kept["acquisition_time_stamp"] = heads["acquisition_time_stamp"] - heads["acquisition_time_stamp"][0]
    return kept


def _without_discarded(heads: np.ndarray) -> np.ndarray:
    """Heads of samples as `Acquisitions.samples` gives them."""
    n_cut = heads["discard_pre"].astype(int) + heads["discard_post"]
    cut = heads.copy()
    cut["number_of_samples"] = np.maximum(heads["number_of_samples"].astype(int) - n_cut, 0)
    cut["center_sample"] = np.maximum(heads["center_sample"].astype(int) - heads["discard_pre"], 0)
    cut["discard_pre"] = cut["discard_post"] = 0
    return cut


def _require_cartesian(header_xml: str) -> None:
    for encoding in parse_header(header_xml).encoding:
        trajectory: xsd.trajectoryType | str = getattr(encoding.trajectory, "value", encoding.trajectory)
        if trajectory not in CARTESIAN:
            raise UnsupportedScan(
                f"the trajectory is '{trajectory}', and its samples mean nothing without it; raki de-identifies "
                "Cartesian scans only"
            )
