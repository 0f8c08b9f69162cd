"""Methods of other packages: whatever goes wrong in one is named as theirs, and never a traceback."""

import logging

import torch

from raki.errors import BrokenPlugin, RakiError
from raki.kspace.method import FillSettings, SliceReport
from raki.planning import Method, PointSampling, Sampling, origin_of
from raki.scan.fourier import SliceAcs, SliceKSpace

LOG = logging.getLogger("raki.plugins")


def filled_by(
    method: Method,
    kspace: SliceKSpace,
    acs: SliceAcs,
    sampling: Sampling | PointSampling,
    settings: FillSettings,
) -> tuple[SliceKSpace, SliceReport]:
    """The slice filled by a method, raki's own or another package's.

    Raises:
        BrokenPlugin: a method of another package failed, or gave something else than a filled slice.
    """
    origin = origin_of(method.name)
    if origin.is_ours:
        return method.fill(kspace, acs, sampling, settings)
    try:
        answer = method.fill(kspace, acs, sampling, settings)
    except RakiError:
        raise
    except Exception as error:
        LOG.exception("the method %s of %s failed", method.name, origin.origin)
        raise BrokenPlugin(_sentence(method, f"failed with {type(error).__name__}")) from None
    if found := _wrong(answer, kspace):
        raise BrokenPlugin(_sentence(method, f"gave {found}"))
    return answer


def _wrong(answer: object, kspace: SliceKSpace) -> str | None:
    """What an answer is instead of filled k-space with a report; None where it is that."""
    if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[1], SliceReport):
        return "no pair of k-space and SliceReport"
    filled = answer[0]
    if not isinstance(filled, torch.Tensor) or filled.dtype != torch.complex64 or filled.device.type != "cpu":
        return "no complex64 tensor on the CPU"
    if filled.shape != kspace.shape:
        return f"k-space of shape {tuple(filled.shape)} for one of {tuple(kspace.shape)}"
    return None if bool(torch.isfinite(filled).all()) else "samples that are no numbers"


def _sentence(method: Method, what: str) -> str:
    return (
        f"the method {method.name} of {origin_of(method.name).origin} {what}; tell those who made it, or choose "
        "another method"
    )
