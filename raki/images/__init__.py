"""From filled k-space to magnitude images: a prepared `Scan` in, a `Reconstruction` out."""

from raki.images.metrics import nmse, object_mask, psnr, ssim
from raki.images.reconstruction import COMBINATIONS, COMPARED_WITH, Reconstruction, ScanSummary, reconstruct

__all__ = [
    "COMBINATIONS",
    "COMPARED_WITH",
    "Reconstruction",
    "ScanSummary",
    "nmse",
    "object_mask",
    "psnr",
    "reconstruct",
    "ssim",
]
