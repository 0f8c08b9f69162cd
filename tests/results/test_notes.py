"""What `raki inspect` remarks on a scan stands in the report and in provenance: users of a share see nothing else."""

import json

import pytest

from raki.formats.scan_reader import sorted_scan
from raki.images import reconstruct
from raki.inspection.inspection import inspect_acquisitions
from raki.phantom.simulation import scan_header
from raki.prepare import preprocess
from raki.results import Source, write_results
from raki.scan.prepared import read_prepared, write_prepared
from tests.formats.sorting.recordings import N, acquisitions, phantom, recorded


@pytest.fixture
def measurement():
    """R=4 in the header, every second line in the file, the others stored as zeros; no echo time, no noise."""
    kspace = phantom(noise=0.01)
    kspace[:, :, 1:8:2] = kspace[:, :, 25::2] = 0
    header = scan_header(1, 4, N, 4)
    header.sequenceParameters.TE = []
    return acquisitions(recorded(kspace), header=header)


def test_all_remarks_of_inspect_stand_beside_the_images(measurement, tmp_path):
    remarks = inspect_acquisitions("ISMRMRD HDF5", measurement, device="cpu").feasibility.remarks
    assert any("stored as zeros" in remark for remark in remarks)
    assert any("R=4" in remark for remark in remarks)
    assert any("TE" in remark for remark in remarks)
    write_prepared(preprocess(sorted_scan(measurement)), tmp_path / "prepared.h5")
    scan = read_prepared(tmp_path / "prepared.h5")
    images = reconstruct(scan, with_maps=False, device="cpu")
    source = Source(name="scan.h5", sha256="ab" * 32, n_bytes=1)
    *_, report, provenance = write_results(images, tmp_path / "results", source=source)
    facts, page = json.loads(provenance.read_text()), report.read_text()
    assert set(remarks) <= {*facts["notes"], *facts["verdict"]["warnings"]}
    for remark in remarks:
        assert remark.replace("'", "&#39;") in page
