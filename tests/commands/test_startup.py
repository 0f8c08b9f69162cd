"""A command loads what it needs and nothing else: torch alone takes seconds."""

import os
import subprocess
import sys

import pydicom
import pytest
import torch
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from raki.identity.person import Identity
from raki.identity.tokens import TokenMap
from raki.planning import default_device

PROBE = """
import sys
sys.argv[0] = "raki"
from raki.cli import main
try:
    main()
except SystemExit as ended:
    code = ended.code
loaded = {name.partition('.')[0] for name in sys.modules}
print(code or 0, *sorted(loaded & set(HEAVY)), file=sys.stderr)
"""
COMPUTING = {"torch", "scipy", "matplotlib"}
SHOWING = {"jinja2", "nibabel", "PIL"}
CLOUD = {"boto3", "botocore", "moto", "aws_cdk"}
READING = {"numpy", "h5py", "ismrmrd"}
HEAVY = COMPUTING | SHOWING | CLOUD | READING | {"pydicom", "pynetdicom"}


def loaded_by(*arguments, **variables):
    """What of `HEAVY` a command has loaded once it is done."""
    probe = PROBE.replace("HEAVY", repr(HEAVY))
    ran = subprocess.run(
        [sys.executable, "-c", probe, *map(str, arguments)],
        capture_output=True, text=True, check=True, env=os.environ | variables,
    )  # fmt: skip
    code, *found = ran.stderr.splitlines()[-1].split()
    assert code == "0", ran.stderr
    return set(found), ran.stdout


@pytest.mark.parametrize("command", [(), *((name,) for name in ("inspect", "reconstruct", "compare", "reidentify"))])
def test_help_loads_nothing(command):
    found, said = loaded_by(*command, "--help")
    assert found == set()
    assert command or all(name in said for name in ("reconstruct", "simulate", "local"))


def test_version_and_completion_load_nothing():
    assert loaded_by("--version")[0] == set()
    found, said = loaded_by(_RAKI_COMPLETE="complete_bash", COMP_WORDS="raki ins", COMP_CWORD="1")
    assert (found, said.split()) == (set(), ["inspect"])


def test_what_reads_scans_loads_what_reads_them(raw, tmp_path):
    for command in (
        ("inspect", raw, raw),
        ("inspect", raw, "--device", "cpu", "--json"),
        ("convert", raw, tmp_path / "scan.npz"),
        ("deidentify", raw, tmp_path / "scan.h5", "--token-map", tmp_path / "tokens.json"),
        ("simulate", tmp_path / "made.h5", "--slices", 1, "--coils", 2, "--matrix", 32),
    ):
        assert loaded_by(*command)[0] <= READING, command


def test_identity_is_put_back_without_what_computes(tmp_path):
    tokens, images = tmp_path / "tokens.json", tmp_path / "images"
    image = pydicom.Dataset()
    image.PatientID = TokenMap(tokens).token_for(Identity(patient_name="Phantom^Digital"))
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, "1.2.3"
    image.Rows, image.Columns, image.BitsAllocated, image.PixelData = 1, 1, 16, b"\0\0"
    image.PixelRepresentation, image.SamplesPerPixel = 0, 1
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    images.mkdir()
    image.save_as(images / "image.dcm", enforce_file_format=True)
    found, _ = loaded_by("reidentify", images, "-o", tmp_path / "named", "--token-map", tokens)
    assert found <= READING | {"pydicom", "PIL"}, "Pillow is loaded by pydicom"
    assert pydicom.dcmread(tmp_path / "named/image.dcm").PatientName == "Phantom^Digital"


def test_the_device_is_the_one_that_torch_would_find():
    assert default_device() == ("cuda" if torch.cuda.is_available() else "cpu")
