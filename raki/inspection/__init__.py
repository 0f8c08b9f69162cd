"""What is in a raw file, and what can be done with it: the files of one scan in, an `Inspection` out.

It stands above `kspace`, since it asks each method what it would need.
"""

from raki.inspection.inspection import Inspection, inspect, inspect_acquisitions

__all__ = ["Inspection", "inspect", "inspect_acquisitions"]
