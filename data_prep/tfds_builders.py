"""The data sets as TFDS knows them by name.

    import tensorflow_datasets as tfds
    import data_prep.tfds_builders                      # registers the names

    source = tfds.data_source("ucf11_googlenet", data_dir=DIR, split="train")
    source[0]["features"]                               # <float16>[frames, 7, 7, 1024]

`data_prep.export_tfds` and `data_prep.beam_extract` make what lies in DIR. TensorFlow is not needed. Without the
import, and for data sets of other names, `tfds.builder("…", data_dir=DIR)` reads the folder's own description. Features
of other networks than GoogLeNet need other names.
"""

import tensorflow_datasets as tfds

from attention_ar.errors import InputError
from data_prep.features.contents import FeaturesFile
from data_prep.features.record_files import VERSION, example_spec

FEATURE_SHAPE = (7, 7, 1024)  # GoogLeNet's


class _GoogLeNetFeatures(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """GoogLeNet features of every frame of a data set; one example is one video."""

    VERSION = tfds.core.Version(VERSION)
    NUM_CLASSES: int
    MULTI_LABEL = False
    HOMEPAGE: str

    def __init__(self, *, file_format="array_record", **options):
        super().__init__(file_format=file_format, **options)

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=example_spec(FEATURE_SHAPE, multi_label=self.MULTI_LABEL),
            homepage=self.HOMEPAGE,
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def download_and_prepare(self, **options):
        """Does nothing if the data set exists.

        Raises:
          InputError: where it is not: it is made of videos or of a features file, by a program of its own.
        """
        if not self.is_prepared():
            raise InputError(
                f"{self.data_dir}: no data set; python -m data_prep.export_tfds --features=features.h5 "
                f"--name={self.name} --data_dir={self._data_dir_root} makes it"
            )

    def _split_generators(self, dl_manager):
        raise NotImplementedError("data_prep.export_tfds writes the records")

    def _generate_examples(self):
        raise NotImplementedError("data_prep.export_tfds writes the records")


class Ucf11Googlenet(_GoogLeNetFeatures):
    """GoogLeNet features of UCF-11 (YouTube Action)."""

    NUM_CLASSES = 11
    HOMEPAGE = "https://www.crcv.ucf.edu/data/UCF_YouTube_Action.php"


class Hmdb51Googlenet(_GoogLeNetFeatures):
    """GoogLeNet features of HMDB-51."""

    NUM_CLASSES = 51
    HOMEPAGE = "https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/"


class Hollywood2Googlenet(_GoogLeNetFeatures):
    """GoogLeNet features of Hollywood2's actions, several of which a clip may have."""

    NUM_CLASSES = 12
    MULTI_LABEL = True
    HOMEPAGE = "https://www.di.ens.fr/~laptev/actions/hollywood2/"


class Ucf101Googlenet(_GoogLeNetFeatures):
    """GoogLeNet features of UCF-101."""

    NUM_CLASSES = 101
    HOMEPAGE = "https://www.crcv.ucf.edu/data/UCF101.php"


BUILDERS = {
    builder.name: builder for builder in (Ucf11Googlenet, Hmdb51Googlenet, Hollywood2Googlenet, Ucf101Googlenet)
}


def check_fits(name: str, contents: FeaturesFile):
    """Refuses one of the names above for features of another data set.

    Raises:
      InputError: where the number of classes, the kind of labels or the features' shape is another.
    """
    builder = BUILDERS.get(name)
    if builder is None:
        return
    if contents.levels:
        raise InputError(f"name={name}: that has 7×7×1024 features alone; these have more levels; choose another name")
    expected = (builder.NUM_CLASSES, builder.MULTI_LABEL, FEATURE_SHAPE)
    if (len(contents.class_names), contents.multi_label, tuple(contents.features.shape[1:])) != expected:
        raise InputError(
            f"name={name}: that has {builder.NUM_CLASSES} classes, {'several' if builder.MULTI_LABEL else 'one'} a "
            f"clip, and 7×7×1024 features; these have {len(contents.class_names)} classes, "
            f"{'several' if contents.multi_label else 'one'} a clip, and "
            f"{'×'.join(map(str, contents.features.shape[1:]))}; choose another name"
        )
