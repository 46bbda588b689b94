"""Communication between devices in a compiled step: its collectives, read from the text of XLA's HLO."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
_COMMENT = re.compile(r"/\*.*?\*/")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_COLLECTIVE = re.compile(rf"^\s+(?:ROOT )?%?[\w.\-]+ = ([^=]*?) ({'|'.join(KINDS)})(-start)?\(")
_CALLED = re.compile(r"(calls|to_apply|body|condition|branch_computations)=(?:\{([^}]*)\}|(%?[\w.\-]+))")
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,<=]*)\]")


@dataclass(frozen=True)
class Collective:
    """All collectives of one kind in a program.

    Attributes:
      kind: XLA's name, such as "all-reduce".
      count: how many there are. One may carry many arrays.
      bytes: of their results, on one device.
      in_loops: how many of them are in the body of a loop. They are counted, and their bytes too, as if it ran once.
    """

    kind: str
    count: int
    bytes: int
    in_loops: int


def find_collectives(hlo: str) -> list[Collective]:
    """Returns the collectives of a program, in the order of `KINDS`.

    Args:
      hlo: the text of an optimised HLO module, `compiled.as_text()`.
    """
    found, calls, bodies, here = [], {}, set(), None
    for line in hlo.splitlines():
        if header := _COMPUTATION.match(line):
            here = header[1]
            continue
        line = _COMMENT.sub("", line)
        for how, several, one in _CALLED.findall(line):
            names = {name.strip().lstrip("%") for name in (several or one).split(",")}
            calls.setdefault(here, set()).update(names)
            if how == "body":
                bodies |= names
        if match := _COLLECTIVE.match(line):
            shape, kind, start = match.groups()
            found.append((kind, here, _bytes(_result(shape) if start and kind != "all-reduce" else shape)))
    repeated, waiting = set(), list(bodies)
    while waiting:
        name = waiting.pop()
        if name not in repeated:
            repeated.add(name)
            waiting += calls.get(name, ())
    return [
        Collective(
            kind,
            len(these),
            sum(size for _, size in these),
            sum(where in repeated for where, _ in these),
        )
        for kind in KINDS
        if (these := [(where, size) for found_kind, where, size in found if found_kind == kind])
    ]


def _bytes(shape: str) -> int:
    """Bytes of all arrays in a shape, such as 8 for "(f32[], s32[1]{0:T(128)})"."""
    total = 0
    for name, bits, dimensions in _ARRAY.findall(shape):
        sizes = [int(size.lstrip("<=")) for size in dimensions.split(",") if size]
        total += math.prod(sizes) * (8 if name == "pred" else int(bits)) / 8
    return math.ceil(total)


def _result(shape: str) -> str:
    """Of the shape (operand, result, ...) that an asynchronous collective starts with, the result's."""
    return list(_parts(shape[1:-1]))[1]


def _parts(text: str) -> Iterator[str]:
    """Yields what the outermost commas separate."""
    depth, begin = 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            yield text[begin:place]
            begin = place + 1
    yield text[begin:]
