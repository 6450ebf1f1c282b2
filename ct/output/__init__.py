"""Results for other programs: NIfTI, DICOM, TIFF, NumPy, PNG and plain HDF5, slice by slice."""
