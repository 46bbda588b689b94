"""Parameters by name: whether they fit a model, and their file for users."""

import jax
import numpy as np

from attention_ar.errors import InputError
from attention_ar.whole_file import whole_file


def flat_names(tree) -> dict:
    """Returns the leaves of nested dicts by their path, such as `lstm_1/kernel`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def require_same_shapes(what: str, found, expected):
    """Raises an InputError that names every array that is missing, superfluous or of another shape."""
    found, expected = flat_names(found), flat_names(expected)
    wrong = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    wrong += [f"{name} is not in the model" for name in sorted(found.keys() - expected.keys())]
    wrong += [
        f"{name} is {list(found[name].shape)}, must be {list(expected[name].shape)}"
        for name in sorted(expected.keys() & found.keys())
        if tuple(found[name].shape) != tuple(expected[name].shape)
    ]
    if wrong:
        raise InputError(f"{what}: does not fit the model: {'; '.join(wrong)}")


def export_params(path, params):
    """Writes the parameters to the file `path` (.npz) under their `flat_names`, atomically."""
    with whole_file(path) as beside, open(beside, "wb") as file:
        np.savez(file, **{name: np.asarray(leaf) for name, leaf in flat_names(params).items()})
