"""Write a raw scan in another format: the files of one scan in, ISMRMRD, BART or NumPy out."""

from raki.export.writing import WRITERS, export, write_scan

__all__ = ["WRITERS", "export", "write_scan"]
