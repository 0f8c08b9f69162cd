"""Methods of other packages: whatever goes wrong in one is named as theirs, and never a traceback."""

from dataclasses import fields, replace
from math import isfinite
from traceback import extract_tb

import torch

from raki.errors import BrokenPlugin, RakiError
from raki.kspace.explanation import Explanation
from raki.kspace.method import FillSettings, SliceReport, TrainingPoint
from raki.kspace.uncertainty import UncertaintyMaps
from raki.planning import FOR_SCATTERED, AnySampling, Method, origin_of
from raki.scan.fourier import SliceAcs, SliceKSpace


def filled_by(
    method: Method,
    kspace: SliceKSpace,
    acs: SliceAcs,
    sampling: AnySampling,
    settings: FillSettings,
) -> tuple[SliceKSpace, SliceReport]:
    """The slice filled by a method, raki's own or another package's, which has copies and can't change what is there.

    Raises:
        BrokenPlugin: a method of another package failed, or gave something else than a filled slice.
    """
    if method in FOR_SCATTERED.values() or origin_of(method.name).is_ours:
        return method.fill(kspace, acs, sampling, settings)
    try:
        answer = method.fill(kspace.clone(), acs.clone(), sampling, settings)
    except RakiError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever somebody else's module raises
        raise BrokenPlugin(_sentence(method, f"failed with {type(error).__name__}{_place(error)}")) from None
    if found := _wrong(answer, kspace):
        raise BrokenPlugin(_sentence(method, f"gave {found}"))
    filled, report = answer
    # What would fill later frames by itself would do so unseen.
    report = replace(report, calibration=None, is_reused=False)
    return filled.detach().resolve_conj().resolve_neg().contiguous(), report


def _place(error: BaseException) -> str:
    """Where it was raised, as those need it who made the method: by module, without folders."""
    frames = extract_tb(error.__traceback__)
    return f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""


def _wrong(answer: object, kspace: SliceKSpace) -> str | None:
    """What an answer is instead of filled k-space with a report; None where it is that."""
    if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[1], SliceReport):
        return "no pair of k-space and SliceReport"
    filled = answer[0]
    if not isinstance(filled, torch.Tensor) or filled.dtype != torch.complex64 or filled.device.type != "cpu":
        return "no complex64 tensor on the CPU"
    if filled.layout != torch.strided:
        return "a sparse tensor"
    if filled.shape != kspace.shape:
        return f"k-space of shape {tuple(filled.shape)} for one of {tuple(kspace.shape)}"
    if not bool(torch.isfinite(filled).all()):
        return "samples that are no numbers"
    return _wrong_report(answer[1], tuple(kspace.shape[1:]))


def _wrong_report(report: SliceReport, shape: tuple[int, ...]) -> str | None:
    """What of a report isn't as it should be. Choices between candidates are judged as raki's own are made."""
    if report.chosen is not None:
        return "a report with a choice between candidates; that is raki's own methods' alone"
    for point in report.curve:
        losses = (point.training_loss, point.validation_loss) if isinstance(point, TrainingPoint) else ()
        if not losses or not all(isinstance(loss, float) and isfinite(loss) for loss in losses):
            return "a training curve that isn't one of numbers"
    for kind, maps in ((UncertaintyMaps, report.maps), (Explanation, report.explanation)):
        if maps is not None and (wrong := _wrong_maps(maps, kind, shape)):
            return wrong
    return None


def _wrong_maps(maps: object, kind: type[UncertaintyMaps | Explanation], shape: tuple[int, ...]) -> str | None:
    if not isinstance(maps, kind):
        return "maps that are none"
    for field in fields(kind):
        volume = getattr(maps, field.name)
        if not isinstance(volume, torch.Tensor) or volume.dtype != torch.float32 or tuple(volume.shape) != shape:
            return f"a map {field.name} that is no float32 tensor of shape {shape}"
        if not bool(torch.isfinite(volume).all()):
            return f"a map {field.name} with pixels that are no numbers"
    return None


def _sentence(method: Method, what: str) -> str:
    return (
        f"the method {method.name} of {origin_of(method.name).origin} {what}; tell those who made it, or choose "
        "another method"
    )
