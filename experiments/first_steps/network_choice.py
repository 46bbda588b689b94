"""Which network makes a quickstart's features."""

import os
import threading
from pathlib import Path

from attention_ar.errors import InputError
from data_prep.features.opening import open_features
from data_prep.features.partial_features import begun_plan
from data_prep.networks.network import Network
from data_prep.networks.registry import kind_of, load_again, load_network, title_of
from data_prep.networks.weights import ENVIRONMENT_VARIABLE, cached_file, load_googlenet

PATIENCE = 10.0  # seconds for a download of 28 MB


def network_for(features: Path, network: str = "auto", options: dict[str, str] | None = None) -> tuple[Network, str]:
    """Loads the network that makes a features file, and prints what it is.

    Args:
      features: the features file; where it is begun or finished, "auto" takes its network.
      network: a key of `data_prep.networks.registry.KINDS`, or "auto", see `choose_network`.
      options: of the network, see `load_network`.

    Returns:
      The network, and a description of its features.

    Raises:
      InputError: where the features are made with another network, and see `load_network`.
    """
    begun = begun_recipe(features)
    found = choose_network(options or {}, begun) if network == "auto" else load_network(network, options)
    described = f"{title_of(found.recipe)}, {'×'.join(map(str, found.feature_shape))} numbers a frame"
    print(f"features: {described}", flush=True)
    if found.is_random:
        print("NOTE: the network is RANDOM. These are trial outputs, not results.", flush=True)
    if begun and begun["network"] != found.recipe["network"]:
        raise InputError(
            f"{features}: made with another network than {found.recipe['network']}; name another --workdir"
        )
    return found, described


def begun_recipe(features: Path) -> dict | None:
    """Returns the recipe of a features file, finished or unfinished; None if there is neither."""
    if features.exists():
        return open_features(features).recipe
    plan = begun_plan(features)
    return plan and plan["recipe"]


def choose_network(options: dict[str, str], begun: dict | None = None) -> Network:
    """Returns GoogLeNet if it is local or downloaded within seconds, else EfficientNet-Lite0, and prints why.

    Args:
      options: of GoogLeNet; with any, or if $ATTENTION_AR_GOOGLENET names a file, it is GoogLeNet.
      begun: the recipe of existing features, whose network is used.
    """
    if begun and kind_of(begun):
        return load_again(begun, options=options)
    if options or os.environ.get(ENVIRONMENT_VARIABLE):
        return load_network("googlenet", options)
    if not cached_file().exists():
        print(f"downloading GoogLeNet, for {PATIENCE:.0f} seconds at most", flush=True)
    found = []

    def look():
        try:
            found.append(load_googlenet(seconds=PATIENCE))
        except InputError as error:
            found.append(error)

    # A thread, because looking up the name of a server that is out of reach may take minutes.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(PATIENCE + 5)  # The weights may arrive just in time, and must still be read.
    if found and isinstance(found[0], Network):
        return found[0]
    print(f"NOTE: {found[0] if found else 'no GoogLeNet is found or downloaded in time'}")
    return load_network("efficientnet_lite0")
