"""What is written about one DICOM radiograph: a report, a picture and outlines."""
