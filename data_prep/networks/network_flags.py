"""The flags that say which network makes the features; the same for every program."""

from absl import flags

from data_prep.networks.registry import KINDS

flags.disclaim_key_flags()  # The flags belong to the program that calls `define`.


def define(default: str | None = "googlenet", others: dict[str, str] | None = None):
    """Defines the flags.

    Args:
      default: the network if the user names none; None if the program determines it.
      others: what else --network may be, with what it means.
    """
    meanings = (others or {}) | {name: f"{kind.title}, {kind.about}" for name, kind in KINDS.items()}
    described = "; ".join(f"{name}: {meaning}" for name, meaning in meanings.items())
    flags.DEFINE_enum("network", default, list(meanings), f"What makes the features. {described}.")
    for option, description in _options().items():
        flags.DEFINE_string(option, None, description)


def given() -> tuple[str | None, dict[str, str]]:
    """Returns what --network says, and those of the networks' options that were given."""
    given = {name: flags.FLAGS[name].value for name in _options()}
    return flags.FLAGS.network, {name: value for name, value in given.items() if value is not None}


def _options() -> dict[str, str]:
    """The flags of all networks, with their help; two networks may share one."""
    return {option: description for kind in KINDS.values() for option, description in kind.options.items()}
