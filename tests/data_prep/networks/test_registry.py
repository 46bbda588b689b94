"""Which network is which: by name, by recipe, and by what a user may not say at once."""

import pytest
from absl import flags

from attention_ar.errors import InputError
from data_prep.networks import network_flags
from data_prep.networks.registry import KINDS, kind_of, load_again, load_network, title_of


@pytest.fixture
def loaded(monkeypatch):
    """What was asked for, instead of a network."""
    asked = []
    monkeypatch.setattr(
        "data_prep.networks.weights.load_googlenet", lambda googlenet, levels: asked.append(("googlenet", googlenet))
    )
    monkeypatch.setattr("data_prep.networks.weights.random_googlenet", lambda levels: asked.append(("random", None)))
    return asked


def test_a_recipe_says_which_network_it_was():
    names = {recipe: kind_of({"network": recipe}) for kind in KINDS.values() for recipe in kind.recipes}
    assert names["bvlc_googlenet"] == names["torchvision_googlenet"] == "googlenet"
    assert names["random_googlenet"] == "random"
    assert names["efficientnet_lite0"] == "efficientnet_lite0"
    assert len(names) == sum(len(kind.recipes) for kind in KINDS.values())  # no recipe is two networks'
    assert kind_of({"network": "released layout"}) is None
    assert title_of({"network": "bvlc_googlenet"}) == "GoogLeNet"
    assert title_of({"network": "released layout"}) == "released layout"


def test_the_network_of_a_recipe_needs_no_name(loaded):
    load_again({"network": "bvlc_googlenet"})
    load_again({"network": "torchvision_googlenet"}, "googlenet", {"googlenet": "a.pth"})
    load_again({"network": "random_googlenet"})
    assert loaded == [("googlenet", None), ("googlenet", "a.pth"), ("random", None)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: load_again({"network": "bvlc_googlenet"}, "efficientnet_lite0"),
            "network=efficientnet_lite0: its features come from bvlc_googlenet, which is --network=googlenet",
        ),
        (
            lambda: load_again({"network": "my_own"}),
            f"its features come from 'my_own', which is none of {', '.join(KINDS)}",
        ),
        (
            lambda: load_network("efficientnet_lite0", {"googlenet": "a.onnx"}),
            "googlenet=a.onnx: goes with --network=googlenet, and the network is efficientnet_lite0",
        ),
    ],
)
def test_contradictions(loaded, call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message
    assert loaded == []


def test_flags_give_what_the_user_said():
    before = set(flags.FLAGS)
    network_flags.define(default="auto", others={"auto": "whatever there is"})
    try:
        flags.FLAGS(["program"])
        assert network_flags.given() == ("auto", {})
        flags.FLAGS(["program", "--network=googlenet", "--googlenet=a.onnx"])
        assert network_flags.given() == ("googlenet", {"googlenet": "a.onnx"})
        with pytest.raises(flags.IllegalFlagValueError, match="efficientnet_lite0"):
            flags.FLAGS(["program", "--network=alexnet"])
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()
