"""Leaving the missing lines at zero: what every other method is compared with."""

from raki.kspace.method import FillSettings, SliceReport
from raki.planning import Sampling
from raki.scan.fourier import SliceAcs, SliceKSpace


def leave_zero(
    kspace: SliceKSpace, _acs: SliceAcs, _sampling: Sampling, _settings: FillSettings
) -> tuple[SliceKSpace, SliceReport]:
    """The k-space as it is."""
    return kspace, SliceReport()
