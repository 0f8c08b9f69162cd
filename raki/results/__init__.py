"""Files that people open: a `Reconstruction` in; images, previews, the report and its provenance out.

`raki.results.dicom` writes DICOM and `raki.results.reidentification` puts a patient back into it;
`raki.results.comparison` scores methods on a full scan.
"""

from raki.results.folder import Source, write_results
from raki.results.report import method_label

__all__ = ["Source", "method_label", "write_results"]
