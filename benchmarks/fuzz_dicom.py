"""The images that `raki reidentify` is given, which come back from wherever they were sent."""

import io
from pathlib import Path

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from benchmarks.fuzz_ends import Target
from raki.identity.person import Identity
from raki.identity.tokens import TokenMap
from raki.results.reidentification import reidentify

TOKEN = "raki-0123456789abcdef"
"""The one that the seed carries."""


def _dicom(content: bytes, folder: Path) -> None:
    images = folder / "images"
    images.mkdir()
    (images / "image.dcm").write_bytes(content)
    named = {TOKEN: Identity(patient_name="Doe^Jane")}
    TokenMap(folder / "tokens.json")._write(named)  # tokens are drawn at random elsewhere
    reidentify(images, folder / "tokens.json", folder / "out")


def _image() -> bytes:
    image = pydicom.Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = MRImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = UID("1.2.3")
    image.SpecificCharacterSet, image.PatientID, image.PatientName = "ISO_IR 192", TOKEN, TOKEN
    image.StudyInstanceUID, image.Rows, image.Columns = "1.2.3.4", 1, 1
    image.ReferencedStudySequence = [pydicom.Dataset()]
    image.BitsAllocated, image.PixelData = 16, bytes(2)
    image["PixelData"].VR = "OW"
    file = io.BytesIO()
    pydicom.dcmwrite(file, image, enforce_file_format=True)
    return file.getvalue()


IMAGES = Target(read=_dicom, seeds=lambda: [_image()])
