"""In a hospital: radiographs come as DICOM, and answers go back as DICOM."""
