"""GoogLeNet, the paper's network; and one that nobody has trained."""

from collections.abc import Mapping

from data_prep.networks.network import Kind, Network


def load(googlenet: str | None = None, levels: str | None = None) -> Network:
    """Returns the network; see `data_prep.networks.weights.load_googlenet`, `parse_levels`."""
    from data_prep.networks.weights import load_googlenet, parse_levels

    return load_googlenet(googlenet, levels=parse_levels(levels))


def load_random(levels: str | None = None) -> Network:
    """Returns an untrained network, the same at every call."""
    from data_prep.networks.weights import parse_levels, random_googlenet

    return random_googlenet(levels=parse_levels(levels))


def _levels_of(recipe: Mapping) -> dict[str, str]:
    return {"levels": ",".join(recipe["levels"])} if "levels" in recipe else {}


_LEVELS = {
    "levels": "GoogLeNet's outputs to keep, by commas: inception_5b (7×7×1024), inception_4e (14×14×832), "
    "inception_4e_7x7 (the same max-pooled to 7×7), inception_3b (28×28×480). By default inception_5b alone, as in the "
    "paper."
}

KIND = Kind(
    title="GoogLeNet",
    about="the paper's",
    load=load,
    recipes=("bvlc_googlenet", "torchvision_googlenet"),
    options={
        "googlenet": "GoogLeNet's weights: an ONNX file with BVLC GoogLeNet, torchvision's .pth, or `random`, which is "
        "--network=random. By default $ATTENTION_AR_GOOGLENET, or the file in your cache directory, downloaded if need "
        "be.",
        **_LEVELS,
    },
    options_of=_levels_of,
)
RANDOM = Kind(
    "an untrained GoogLeNet",
    "for trying things",
    load=load_random,
    recipes=("random_googlenet",),
    options=_LEVELS,
    options_of=_levels_of,
)
