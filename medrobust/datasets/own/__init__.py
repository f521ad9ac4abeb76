"""One's own pictures, DICOM files and arrays."""
