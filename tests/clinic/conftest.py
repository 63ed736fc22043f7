"""What the tests of the room share: DICOM radiographs as bytes, with identifiers to look for."""

import io

import numpy as np
import pytest

PLANTED = {
    "PatientName": "Plantedname^Jürgen",
    "PatientID": "HOSP-4711-77",
    "PatientBirthDate": "20170319",
    "AccessionNumber": "ACC-99-31",
    "ReferringPhysicianName": "Referrer^Odd",
    "StudyDescription": "Thorax fuer Plantedname",
    "InstitutionName": "Planted Hospital",
    "StudyDate": "20210704",
    "StudyTime": "081533",
    "StudyID": "ST-5512",
}


@pytest.fixture(scope="session")
def chest() -> np.ndarray:
    """A synthetic radiograph (H, W) uint8, wider than high."""
    from xray_tf.data.synthetic.phantom import draw_phantom

    return draw_phantom("bacterial", 1, height=200, width=240).image


@pytest.fixture(scope="session")
def dicom(chest):
    """A function that makes the bytes of a DICOM radiograph; tags by name change it, and None
    leaves one out.
    """
    import pydicom

    def make(image=chest, meta=(), **tags) -> bytes:
        made = pydicom.Dataset()
        named = {
            "SpecificCharacterSet": "ISO_IR 100",
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
            "SOPInstanceUID": "1.2.826.77.1",
            "StudyInstanceUID": "1.2.826.77.2",
            "SeriesInstanceUID": "1.2.826.77.3",
            "Modality": "CR",
            "PatientSex": "M",
            "BodyPartExamined": "CHEST",
            "ViewPosition": "AP",
            "SamplesPerPixel": 3 if image.ndim == 3 else 1,
            "PhotometricInterpretation": "RGB" if image.ndim == 3 else "MONOCHROME2",
            "Rows": image.shape[0],
            "Columns": image.shape[1],
            "BitsAllocated": 8,
            "BitsStored": 8,
            "HighBit": 7,
            "PixelRepresentation": 0,
            **PLANTED,
            **tags,
        }
        if image.ndim == 3:
            named["PlanarConfiguration"] = 0
        for name, value in named.items():
            if value is not None:
                setattr(made, name, value)
        made.add_new(
            "PixelData",
            "OB" if image.itemsize == 1 else "OW",
            np.ascontiguousarray(image).tobytes(),
        )
        made.file_meta = pydicom.dataset.FileMetaDataset()
        made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        made.preamble = b"\0" * 128
        stream = io.BytesIO()
        pydicom.dcmwrite(stream, made, enforce_file_format=bool(named["SOPInstanceUID"]))
        return stream.getvalue()

    return make
