"""From filled k-space to magnitude images: a prepared `Scan` in, a `Reconstruction` out."""

from raki.images.apart import TakenApart
from raki.images.metrics import nmse, object_mask, psnr, ssim
from raki.images.reconstruction import COMPARED_WITH, Keep, Progress, reconstruct, reconstruct_as
from raki.images.result import ModelUse, Reconstruction, ScanSummary, StoredModel

__all__ = [
    "COMPARED_WITH",
    "Keep",
    "ModelUse",
    "Progress",
    "Reconstruction",
    "ScanSummary",
    "StoredModel",
    "TakenApart",
    "nmse",
    "object_mask",
    "psnr",
    "reconstruct",
    "reconstruct_as",
    "ssim",
]
