"""GoogLeNet, the paper's network; and one that nobody has trained."""

from data_prep.networks.network import Kind, Network


def load(googlenet: str | None = None) -> Network:
    """Returns the network; see `data_prep.networks.weights.load_googlenet`."""
    from data_prep.networks.weights import load_googlenet

    return load_googlenet(googlenet)


def load_random() -> Network:
    """Returns an untrained network, the same at every call."""
    from data_prep.networks.weights import random_googlenet

    return random_googlenet()


KIND = Kind(
    title="GoogLeNet",
    about="the paper's",
    load=load,
    recipes=("bvlc_googlenet", "torchvision_googlenet"),
    options={
        "googlenet": "GoogLeNet's weights: an ONNX file with BVLC GoogLeNet, torchvision's .pth, or `random`, which is "
        "--network=random. By default $ATTENTION_AR_GOOGLENET, or the file in your cache directory, downloaded if need "
        "be."
    },
)
RANDOM = Kind("an untrained GoogLeNet", "for trying things", load=load_random, recipes=("random_googlenet",))
