"""The recipe: all that the features' values depend on."""

import hashlib
import json

from attention_ar.errors import InputError


def recipe_hash(recipe: dict) -> str:
    """Returns the sha256 of a recipe, whatever the order of its keys."""
    canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def differing_fields(expected: dict, found: dict) -> list[str]:
    """Returns one phrase for every key whose values differ or that only one of two tables has."""
    return [
        f"{key} is {found.get(key)!r} instead of {expected.get(key)!r}"
        for key in sorted(expected.keys() | found.keys())
        if key not in expected or key not in found or expected[key] != found[key]
    ]


def of_a_frame(recipe: dict) -> dict:
    """Returns a recipe without what says which clips there are: the values of a frame do not depend on that."""
    return {key: value for key, value in recipe.items() if key != "mirror"}


def require_same_recipe(expected: dict, found: dict, what: str = "the features file"):
    """Refuses features that were made in another way than the others. Whether there are mirrored clips may differ.

    Args:
      expected: the recipe to be met.
      found: the recipe of `what`.
      what: is named in the error.

    Raises:
      InputError: with the fields that differ and both values.
    """
    if differing := differing_fields(of_a_frame(expected), of_a_frame(found)):
        raise InputError(f"{what} has another recipe: {'; '.join(differing)}; features of two are never mixed")
