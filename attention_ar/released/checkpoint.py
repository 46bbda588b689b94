"""The authors' checkpoints `model.npz`: one array a parameter, under the names of `layout`.

Nothing is unpickled. The program keeps its options beside the checkpoint in a pickled file; here they are
inferred from the arrays' names and shapes. The caller gives those that cannot be inferred (use_dropout,
temperature_inverse, last_n, multi_label).
"""

import re
import warnings
import zipfile
import zlib
from collections import Counter

import numpy as np
from numpy.lib import format as npy

from attention_ar.errors import InputError
from attention_ar.released import layout
from attention_ar.released.module import ReleasedAttentionLSTM
from attention_ar.whole_file import whole_file

LEFT_ALONE = ("zipped_params", "history_errs", "train_err", "valid_err", "test_err")
"""Members that are not parameters. The first is pickled; the plain arrays beside it hold the same."""


def read_model(path, **options):
    """Reads a checkpoint of the released program.

    Args:
      path: the .npz file.
      **options: attributes of the model: those that the file does not contain, and any to be checked
          against it.

    Returns:
      A `ReleasedAttentionLSTM`, and its parameters `<float>`, as stored.

    Raises:
      InputError: where the file cannot be read, holds a needed array in pickled form or one that is not
        finite; or, in one line that names them all, where arrays are missing, superfluous or of a wrong
        shape.
    """
    try:
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # NumPy's, of files that Python 2 has written.
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            headers = {name: _header(archive, member) for name, member in members.items() if name not in LEFT_ALONE}
            model, shapes = _fit(path, {name: shape for name, (shape, _) in headers.items()}, options)
            _require_plain_floats(path, {name: headers[name][1] for name in shapes})
            params = {name: _array(archive, members[name]) for name in shapes}
    except InputError:
        raise
    except _UNREADABLE as error:
        what = f"not a readable .npz file ({error}); must be a checkpoint of the released program"
        raise InputError(f"{path}: {what}") from error
    unfit = [name for name, array in params.items() if not np.all(np.isfinite(array))]
    if unfit:
        raise InputError(f"{path}: NaN or Inf in {', '.join(unfit)}; all numbers must be finite")
    return model, params


def write_model(path, params):
    """Writes parameters so that the released program can load them, atomically.

    Args:
      path: the .npz file.
      params: as the model has them; written as float32, the program's type.

    Raises:
      InputError: where the file cannot be written.
    """
    with whole_file(path) as beside, open(beside, "wb") as file:
        np.savez(file, **{name: np.asarray(array, np.float32) for name, array in params.items()})


_UNREADABLE = (
    *(OSError, EOFError, MemoryError, NotImplementedError, OverflowError, RuntimeError, ValueError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What damaged or hostile files make `zipfile` and NumPy raise."""


def _header(archive, member):
    """Returns shape and type of an array without reading it."""
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{member} has format {version}")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
    return shape, dtype


def _array(archive, member):
    with archive.open(member) as file:
        array = npy.read_array(file, allow_pickle=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _require_plain_floats(path, types):
    wrong = [
        f"{name} is {'pickled' if dtype.hasobject else dtype}"
        for name, dtype in types.items()
        if dtype.newbyteorder("=") not in (np.float32, np.float64)
    ]
    if wrong:
        raise InputError(f"{path}: {'; '.join(wrong)}; must be float32 or float64, and nothing is unpickled")


def _fit(path, found, options):
    """Returns the model that fits the shapes found, under the options given, and its parameters' shapes."""
    structure = {
        "n_layers_att": 1 + _count(found, r"decoder_[Wb]_att_(\d+)"),
        "n_layers_out": 1 + _count(found, r"ff_logit_h(\d+)_[Wb]"),
        "n_layers_init": 1 + _count(found, r"ff_init_(\d+)_[Wb]"),
        "ctx2out": bool({"ff_logit_ctx_W", "ff_logit_ctx_b"} & found.keys()),
        "selector": bool({"decoder_W_sel", "decoder_b_sel"} & found.keys()),
    }
    structure |= {name: options[name] for name in structure if name in options}
    sizes = _sizes(found, layout.axes(**structure))
    sizes |= {name: options[name] for name in ("hidden_dim", "dim_out", "num_classes") if name in options}
    try:
        shapes = layout.shapes(**sizes, **structure)
    except TypeError:
        absent = [name for name in layout.axes(**structure) if name not in found]
        raise InputError(f"{path}: no checkpoint of the released program; it lacks {', '.join(absent)}") from None
    wrong = [f"{name} is missing" for name in shapes if name not in found]
    wrong += [f"{name} is not in the model" for name in found if name not in shapes]
    wrong += [
        f"{name} is {list(found[name])}, must be {list(shape)}"
        for name, shape in shapes.items()
        if name in found and tuple(found[name]) != shape
    ]
    if wrong:
        raise InputError(f"{path}: does not fit the released model: {'; '.join(wrong)}")
    del sizes["num_maps"]
    return ReleasedAttentionLSTM(**{**options, **sizes, **structure}), shapes


def _count(names, pattern) -> int:
    """Returns how many different numbers the names have that fit a pattern."""
    return len({match[1] for match in map(re.compile(pattern).fullmatch, names) if match})


def _sizes(found, axes) -> dict[str, int]:
    """Returns what most arrays say of each size, so that an array of a wrong shape is the one named."""
    votes = {"D": Counter(), "d": Counter(), "O": Counter(), "C": Counter()}
    for name in axes.keys() & found.keys():
        if len(axes[name]) == len(found[name]):
            for axis, size in zip(axes[name], found[name], strict=True):
                if axis in votes:
                    votes[axis][size] += 1
    option = {"D": "num_maps", "d": "hidden_dim", "O": "dim_out", "C": "num_classes"}
    return {option[axis]: counter.most_common(1)[0][0] for axis, counter in votes.items() if counter}
