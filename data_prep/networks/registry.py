"""The networks by name. A new one is a file beside this one, and an entry in `KINDS`."""

from collections.abc import Mapping

from attention_ar.errors import InputError
from data_prep.networks import efficientnet_lite0, googlenet, onnx_file, timm_model
from data_prep.networks.network import Network

KINDS = {
    "googlenet": googlenet.KIND,
    "efficientnet_lite0": efficientnet_lite0.KIND,
    "onnx": onnx_file.KIND,
    "timm": timm_model.KIND,
    "random": googlenet.RANDOM,
}


def load_network(name: str, options: Mapping[str, str] | None = None) -> Network:
    """Returns a network.

    Args:
      name: a key of `KINDS`.
      options: its options that were given, by the names of their flags.

    Raises:
      InputError: it is not available, or an option is another network's.
    """
    options = dict(options or {})
    for option, value in options.items():
        if option not in KINDS[name].options:
            owner = next(other for other, kind in KINDS.items() if option in kind.options)
            raise InputError(f"{option}={value}: goes with --network={owner}, and the network is {name}")
    return KINDS[name].load(**options)


def kind_of(recipe: Mapping) -> str | None:
    """Returns the name of the network that made features of this recipe; None for features from elsewhere."""
    return next((name for name, kind in KINDS.items() if recipe.get("network") in kind.recipes), None)


def title_of(recipe: Mapping) -> str:
    """Returns a readable name of the network that made features of this recipe."""
    name = kind_of(recipe)
    if name is None:
        return str(recipe.get("network"))
    return KINDS[name].title + (f", {recipe['model']}" if "model" in recipe else "")


def load_again(recipe: Mapping, name: str | None = None, options: Mapping[str, str] | None = None) -> Network:
    """Returns the network that a recipe and the options name.

    The caller must compare its recipe: another file may have been named.

    Args:
      recipe: of features.
      name: of the network, where the user has named one.
      options: of the user, which take precedence over those that the recipe stores.

    Raises:
      InputError: the user has named another kind of network; or see `load_network`.
    """
    made_by = kind_of(recipe)
    if made_by is None:
        raise InputError(f"its features come from {recipe.get('network')!r}, which is none of {', '.join(KINDS)}")
    if name not in (None, made_by):
        raise InputError(f"network={name}: its features come from {recipe['network']}, which is --network={made_by}")
    return load_network(made_by, {**KINDS[made_by].options_of(recipe), **(options or {})})
