"""The flags that say which network makes the features; the same for every program."""

from absl import flags

flags.disclaim_key_flags()  # The flags belong to the program that calls `define`.


def define():
    """Defines the flags."""
    flags.DEFINE_string(
        "googlenet",
        None,
        "The network's weights: an ONNX file with BVLC GoogLeNet, torchvision's .pth, or `random`, an untrained "
        "network for trying things. By default $ATTENTION_AR_GOOGLENET, or the file in your cache directory, "
        "downloaded if need be.",
    )
