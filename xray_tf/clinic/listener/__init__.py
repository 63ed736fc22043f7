"""A DICOM node that takes radiographs and sends its answers on."""
