"""Files that people open: a `Reconstruction` in; images, DICOM, previews, the report and its provenance out."""
