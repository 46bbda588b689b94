"""Opens features in either format: an HDF5 file, or the folder of a TFDS data set."""

import os

from data_prep.features.contents import FeaturesFile
from data_prep.features.hdf5_file import read_features
from data_prep.features.record_rows import is_record_dataset, open_records


def absolute_path(path) -> str:
    """Returns a features file's absolute path; an address on a bucket, gs://…, stays as it is."""
    return os.fspath(path) if "://" in os.fspath(path) else os.path.abspath(path)


def open_features(path) -> FeaturesFile:
    """Opens features for reading.

    Args:
      path: of a features file, or of the folder of a data set that `data_prep.export_tfds` or `data_prep.beam_extract`
        made, which may be on a bucket, gs://….

    Raises:
      InputError: see `read_features` and `open_records`.
    """
    return open_records(path) if is_record_dataset(path) else read_features(path)
