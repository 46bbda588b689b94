"""Tensors of a file that PyTorch has saved in its old format, read without PyTorch and without unpickling.

Such a file is five pickles, one after the other: a magic number, a version, facts about the machine, the state dict
with a description of each tensor, and the names of the storages; then each storage, its length and its numbers. Of the
fourth and the fifth the opcodes are read here as a language of numbers, texts, tuples and tables; a name is only
text. Nothing is imported, called or built.
"""

import io
import pickletools

import numpy as np

_NUMBERS = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
_REBUILD = "torch._utils _rebuild_tensor_v2"
_VALUES = {"GLOBAL", "BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"}
_CONSTANTS = {"NONE": None, "NEWFALSE": False, "NEWTRUE": True}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}


def read_tensors(data: bytes) -> dict[str, np.ndarray]:
    """Returns the tensors of a state dict under their names.

    Args:
      data: the file. Only what is known to be right, by its hash, should come here: a damaged one is noticed, but not
        always with a message that helps.

    Raises:
      ValueError: the file holds something else.
    """
    file = io.BytesIO(data)
    for _ in range(3):
        _read_values(file)
    described, keys = _read_values(file), _read_values(file)
    storages = {}
    kinds = {storage[2]: _NUMBERS[storage[1]] for storage, *_ in described.values()}
    for key in keys:
        length = int.from_bytes(file.read(8), "little")
        storages[key] = file.read(length * kinds[key].itemsize)
    tensors = {}
    for name, (storage, offset, shape, strides, *_) in described.items():
        _, kind, key, *_ = storage
        size = _NUMBERS[kind].itemsize  # PyTorch counts in numbers what NumPy counts in bytes
        strides = tuple(size * stride for stride in strides)
        tensors[name] = np.ndarray(shape, _NUMBERS[kind], storages[key], size * offset, strides)
    return tensors


def _read_values(file: io.BytesIO):
    """Returns the value of one pickle that is made of literals; a tensor is the arguments that would rebuild it."""
    stack, marks, memo = [], [], {}

    def since_mark() -> list:
        found = stack[marks[-1] :]
        del stack[marks.pop() :]
        return found

    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in ("TUPLE1", "TUPLE2"):
            size = int(name[-1])
            stack[-size:] = [tuple(stack[-size:])]
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "APPENDS":
            items = since_mark()
            stack[-1].extend(items)
        elif name == "SETITEM":
            key, value = stack.pop(-2), stack.pop()
            stack[-1][key] = value
        elif name == "SETITEMS":
            items = since_mark()
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            if function not in (_REBUILD, "collections OrderedDict"):
                raise ValueError(f"{function} has no place among tensors")
            stack.append(arguments if function == _REBUILD else {})
        elif name == "BUILD":
            stack.pop()  # versions of the modules
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "BINPERSID"):  # a storage is the tuple that describes it
            raise ValueError(f"{name} has no place among tensors")
    raise ValueError("it ends within a pickle")
