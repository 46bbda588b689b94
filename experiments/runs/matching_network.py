"""The network that made a run's features, found again."""

import sys

from attention_ar.errors import InputError
from data_prep.features.extraction import make_recipe
from data_prep.features.recipe import differing_fields, of_a_frame
from data_prep.networks.network import Network
from data_prep.networks.registry import KINDS, kind_of, load_again
from experiments.runs.trained import TrainedModel


def matching_network(model: TrainedModel, name: str | None = None, options: dict[str, str] | None = None) -> Network:
    """Returns the network that made a run's features. Prints small differences on the standard error.

    Raises:
      InputError: where the network that is found is another one, or the features came from elsewhere.
    """
    recipe = model.recipe
    if "extraction_fps" not in recipe:
        raise InputError(
            f"{model.workdir}: its features ({recipe['network']}) were not made by data_prep.extract_features, "
            "so frames of a video cannot get such features"
        )
    try:
        network = load_again(recipe, name, options)
    except InputError as error:
        raise InputError(f"{model.workdir}: {error}") from None
    kept = recipe["extraction_fps"]
    here = make_recipe(network, None if kept == "native" else kept)
    decoder, own_decoder = recipe.get("decoder"), here.pop("decoder")
    kind = KINDS.get(kind_of(recipe))
    way_out = f"; name that network with --{next(iter(kind.options))}" if kind and kind.options else ""
    if differing := differing_fields({k: v for k, v in of_a_frame(recipe).items() if k != "decoder"}, here):
        raise InputError(f"{model.workdir}: was trained on another network's features: {'; '.join(differing)}{way_out}")
    if decoder != own_decoder:
        print(
            f"NOTE: the run's features were decoded by {decoder}, here it is {own_decoder}: "
            "frames, and so probabilities, may differ slightly",
            file=sys.stderr,
        )
    return network
