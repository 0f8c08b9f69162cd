"""From filled k-space to magnitude images: a prepared `Scan` in, a `Reconstruction` out."""

from raki.images.metrics import nmse, object_mask, psnr, ssim
from raki.images.reconstruction import COMPARED_WITH, reconstruct
from raki.images.result import COMBINATIONS, Reconstruction, ScanSummary

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
