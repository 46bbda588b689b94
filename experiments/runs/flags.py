"""Dataclasses whose fields are flags."""

import dataclasses
from dataclasses import field

from absl import flags

flags.disclaim_key_flags()  # The flags belong to the program that calls `define_flags`.


def option(default, help, choices=None, minimum=None, maximum=None):
    """A dataclass field that is also a flag."""
    return field(default=default, metadata={"help": help, "choices": choices, "minimum": minimum, "maximum": maximum})


def options(config_class) -> list[dataclasses.Field]:
    """Returns the fields that are flags."""
    return [f for f in dataclasses.fields(config_class) if "help" in f.metadata]


def define_flags(*config_classes, flag_values=flags.FLAGS):
    """Defines one flag per field, with the field's default, help and bounds."""
    for config_class in config_classes:
        for f in options(config_class):
            bounds = {"lower_bound": f.metadata["minimum"], "upper_bound": f.metadata["maximum"]}
            if f.metadata["choices"]:
                flags.DEFINE_enum(f.name, f.default, f.metadata["choices"], f.metadata["help"], flag_values)
            elif f.type is bool:
                flags.DEFINE_boolean(f.name, f.default, f.metadata["help"], flag_values)
            elif f.type is int:
                flags.DEFINE_integer(f.name, f.default, f.metadata["help"], flag_values=flag_values, **bounds)
            elif f.type is float:
                flags.DEFINE_float(f.name, f.default, f.metadata["help"], flag_values=flag_values, **bounds)
            else:
                flags.DEFINE_string(f.name, f.default, f.metadata["help"], flag_values)


def values_of(*names: str) -> dict:
    """Returns the values of flags of the program by name, as keyword arguments."""
    return {name: flags.FLAGS[name].value for name in names}
