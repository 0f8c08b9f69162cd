"""Leaving the missing lines at zero: what every other method is compared with."""

from raki.kspace.method import FillSettings, Method, SliceReport
from raki.kspace.sampling import Sampling
from raki.scan.fourier import SliceAcs, SliceKSpace


def leave_zero(
    kspace: SliceKSpace, _acs: SliceAcs, _sampling: Sampling, _settings: FillSettings
) -> tuple[SliceKSpace, SliceReport]:
    """The k-space as it is."""
    return kspace, SliceReport()


ZERO_FILLED = Method(
    name="zero_filled",
    label="Zero-filled",
    fill=leave_zero,
    obstacles=lambda _sampling, _n_lines, _n_ro: iter(()),
    seconds_a_slice=0.0,
)
