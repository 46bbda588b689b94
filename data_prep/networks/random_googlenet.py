"""An untrained GoogLeNet, for trying programs."""

from data_prep.networks.network import Kind, Network


def load() -> Network:
    """Returns the network, the same at every call."""
    from data_prep.networks.weights import random_googlenet

    return random_googlenet()


KIND = Kind(title="an untrained GoogLeNet", about="for trying things", load=load, recipes=("random_googlenet",))
