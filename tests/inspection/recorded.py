"""Raw files in memory, and what is said of them."""

import re
from collections import Counter
from io import StringIO

import numpy as np
from ismrmrd import xsd
from rich.console import Console

from raki.formats.acquisitions import HEAD
from raki.inspection.inspection import inspect_acquisitions
from raki.inspection.text import describe
from raki.phantom.simulation import sampled_lines, scan_header


class Recorded:
    """A raw file in memory, of noise alone."""

    def __init__(self, header_xml, heads):
        self.header_xml, self.heads = header_xml, heads
        self.n_read = Counter()

    def samples(self, wanted):
        random = np.random.default_rng(0)
        for index in wanted:
            head = self.heads[index]
            self.n_read[bool(head["flags"] & np.uint64(1 << 18))] += 1
            n_kept = int(head["number_of_samples"]) - int(head["discard_pre"]) - int(head["discard_post"])
            shape = (int(head["active_channels"]), max(n_kept, 0))
            yield (random.standard_normal(shape) + 1j * random.standard_normal(shape)).astype(np.complex64)


def planned(acceleration=1, n_acs_lines=0, n_pe=64, n_coils=4, n_slices=1):
    """A scan as it was planned, without noise."""
    lines, flags = sampled_lines(n_pe, acceleration, n_acs_lines)
    heads = np.zeros((n_slices, len(lines)), HEAD)
    heads["active_channels"], heads["number_of_samples"] = n_coils, 2 * n_pe
    heads["center_sample"], heads["flags"] = n_pe, flags
    heads["read_dir"], heads["phase_dir"], heads["slice_dir"] = np.eye(3)
    heads["idx"]["kspace_encode_step_1"] = lines
    heads["idx"]["slice"] = np.arange(n_slices)[:, None]
    heads["position"][..., 2] = 5.0 * np.arange(n_slices)[:, None]
    return Recorded(xsd.ToXML(scan_header(n_slices, n_coils, n_pe, acceleration)), heads.ravel())


def inspected(acquisitions, **more):
    return inspect_acquisitions("ISMRMRD HDF5", acquisitions, device="cpu", **more)


def terminal(inspection, width=80):
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(describe(inspection))
    return console.file.getvalue()


def changed(acquisitions, pattern, new):
    xml, n_changes = re.subn(pattern, new, acquisitions.header_xml, flags=re.DOTALL)
    assert n_changes
    acquisitions.header_xml = xml
    return acquisitions


def one_more(acquisitions, flag):
    extra = acquisitions.heads[-1:].copy()
    extra["flags"] = np.uint64(1 << (flag - 1))
    acquisitions.heads = np.concatenate([acquisitions.heads, extra])
    return acquisitions
