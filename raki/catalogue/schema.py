"""What a catalogue holds: each column with its type and meaning, in one place. Standard library only.

A row is an image: a slice of a frame. What is the scan's own stands in each of its rows, where Parquet keeps it once;
the table `scans` shows it once a scan. A column is added at an end, never changes its meaning, and is null in rows that
were written before there was one.
"""

from dataclasses import dataclass
from typing import Literal

SCHEMA = "raki.catalogue/1"
ROWS_FILE = "catalogue.jsonl"
"""Beside a result: a line of JSON for each of its images."""

OUTSIDE = "raw-"
"""How the id of a scan begins that was reconstructed outside the service."""

Type = Literal["VARCHAR", "INTEGER", "BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR[]", "DOUBLE[]", "FLOAT[32]"]
"""As DuckDB calls them."""


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: Type
    meaning: str
    """With its unit."""


SCAN_COLUMNS = (
    Column("result_id", "VARCHAR", "opaque; one a scan in the service, else one a scan and way of reconstructing it"),
    Column(
        "scan_id", "VARCHAR", "the service's opaque name of the scan, else of the raw file's digest; labels go by it"
    ),
    Column("created_utc", "VARCHAR", "end of the reconstruction, ISO 8601"),
    Column("software", "VARCHAR", "version of raki"),
    Column("raw_sha256", "VARCHAR", "of the raw file"),
    Column("raw_n_bytes", "BIGINT", "of the raw file"),
    Column("image_sha256", "VARCHAR", "of `image.h5`"),
    Column("vendor", "VARCHAR", "of the scanner"),
    Column("model", "VARCHAR", "of the scanner"),
    Column("field_strength_t", "DOUBLE", "T"),
    Column("trajectory", "VARCHAR", "cartesian or epi"),
    Column("patient_position", "VARCHAR", "HFS and so on"),
    Column("protocol", "VARCHAR[]", "words of the protocol that are safe: calibration mode, multiband, EPI's name"),
    Column("coil_names", "VARCHAR[]", "as the header labels them"),
    Column("repetition_time_ms", "DOUBLE", "TR, the first"),
    Column("inversion_time_ms", "DOUBLE", "TI, the first"),
    Column("flip_angle_deg", "DOUBLE", "the first"),
    Column("echo_times_ms", "DOUBLE[]", "TE of all contrasts"),
    Column("b_values", "DOUBLE[]", "of diffusion weighting, s/mm2, each once"),
    Column("echo_train_length", "INTEGER", "lines of an excitation"),
    Column("n_slices", "INTEGER", "of a frame"),
    Column("n_frames", "INTEGER", "contrasts, phases, repetitions and sets"),
    Column("n_coils", "INTEGER", "receiver channels"),
    Column("n_virtual_coils", "INTEGER", "to which they were compressed; null: none were"),
    Column("n_rows", "INTEGER", "pixels along phase-encode"),
    Column("n_columns", "INTEGER", "pixels along readout"),
    Column("n_partitions", "INTEGER", "of a 3-D scan's k-space; null of a 2-D one"),
    Column("fov_read_mm", "DOUBLE", "field of view along readout"),
    Column("fov_phase_mm", "DOUBLE", "field of view along phase-encode"),
    Column("slice_thickness_mm", "DOUBLE", "null where it isn't known"),
    Column("slice_spacing_mm", "DOUBLE", "distance of slice centers"),
    Column("is_oriented", "BOOLEAN", "whether positions and directions are the patient's"),
    Column("acceleration", "INTEGER", "R"),
    Column("net_acceleration", "DOUBLE", "what the ACS lines leave of R"),
    Column("n_acs_lines", "INTEGER", "fully sampled lines at the center, or acquired apart"),
    Column("n_bands", "INTEGER", "slices excited at once; 1: one"),
    Column("prewhitened", "BOOLEAN", "whether a noise scan was there: units are then of noise"),
    Column("noise_sigma", "DOUBLE", "standard deviation of a complex sample, in units of the k-space"),
    Column("method", "VARCHAR", "that was asked for"),
    Column("combination", "VARCHAR", "of the coils: rss or adaptive"),
    Column("seed", "BIGINT", "of the training"),
    Column("device", "VARCHAR", "that it was computed on"),
    Column("seconds", "DOUBLE", "of all stages together, wall clock"),
    Column("seconds_method", "DOUBLE", "of the method's filling, wall clock"),
    Column("warnings", "VARCHAR[]", "sentences: how far to trust it"),
    Column("remarks", "VARCHAR[]", "sentences: what was decided while the scan was read, what it lacks"),
    Column("series_uid", "VARCHAR", "SeriesInstanceUID of `image.dcm`; nothing of it is the patient's"),
    Column("single_series_uid", "VARCHAR", "the same of DICOM images of a slice each, whether or not there are any"),
    Column("nifti_sha256", "VARCHAR[]", "of `image.nii.gz`, or of the several that there are"),
)
"""The same in all rows of a scan."""

IMAGE_COLUMNS = (
    Column("image", "INTEGER", "number of the image in the result, from 0: slice by slice, frame by frame"),
    Column("slice", "INTEGER", "from 0"),
    Column("frame", "INTEGER", "from 0"),
    Column("contrast", "INTEGER", "of the frame"),
    Column("phase", "INTEGER", "of the frame"),
    Column("repetition", "INTEGER", "of the frame"),
    Column("set", "INTEGER", "of the frame"),
    Column("echo_time_ms", "DOUBLE", "TE of the image's contrast"),
    Column("position_mm", "DOUBLE[]", "center of the image, LPS"),
    Column("read_direction", "DOUBLE[]", "unit vector, LPS"),
    Column("phase_direction", "DOUBLE[]", "unit vector, LPS"),
    Column("slice_direction", "DOUBLE[]", "unit vector, LPS"),
    Column("filled_by", "VARCHAR", "the rung that filled it: raki, raki_linear, grappa; null where none was chosen"),
    Column("held_out_error", "DOUBLE", "energy of the error in predicting acquired lines, over their own"),
    Column("grappa_held_out_error", "DOUBLE", "the same of GRAPPA"),
    Column("structure_kept", "DOUBLE", "part of a small structure that survives, 0 to 1"),
    Column("grappa_structure_kept", "DOUBLE", "the same of GRAPPA"),
    Column("object_part", "DOUBLE", "of the pixels, that the object covers, 0 to 1"),
    Column("mean", "DOUBLE", "magnitude inside the object"),
    Column("percentile_99", "DOUBLE", "magnitude inside the object"),
    Column("g_factor_median", "DOUBLE", "inside the object"),
    Column("g_factor_99", "DOUBLE", "99th percentile inside the object"),
    Column("standard_error_median", "DOUBLE", "inside the object, in units of the image"),
    Column("standard_error_99", "DOUBLE", "99th percentile inside the object, in units of the image"),
    Column("standard_error", "DOUBLE", "its median over the image's mean inside the object: relative, dimensionless"),
    Column("snr_median", "DOUBLE", "signal-to-noise inside the object; null without a noise scan"),
    Column("embedding", "FLOAT[32]", "of the picture: see raki.catalogue.embedding"),
    Column("sop_instance_uid", "VARCHAR", "SOPInstanceUID of the `image.dcm` that has the image"),
    Column("sop_frame", "INTEGER", "number of its frame there, from 1"),
)
"""Of an image alone."""

COLUMNS = (*SCAN_COLUMNS, *IMAGE_COLUMNS)

LABEL_COLUMNS = (
    Column("label_id", "VARCHAR", "digest of the label's content: the same label twice is one"),
    Column("scan_id", "VARCHAR", "that it is of"),
    Column("image", "INTEGER", "that it is of; null: of the whole scan"),
    Column("label", "VARCHAR", "what is labelled, as 'motion' or 'lesion'"),
    Column("value", "VARCHAR", "what is said of it; null takes an earlier one by the same person back"),
    Column("made_by", "VARCHAR", "who said so"),
    Column("made_utc", "VARCHAR", "when, ISO 8601"),
    Column("mask_sha256", "VARCHAR", "of `masks/<digest>.png`, where a region is meant; null: all of it"),
    Column("mask_n_pixels", "BIGINT", "in the region"),
    Column("mask_box", "DOUBLE[]", "its first row and column, and one past the last ones"),
    Column("source", "VARCHAR", "name and digest of the file that it was imported from"),
)
