"""Locks a work folder: one program at a time writes into it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from attention_ar.errors import InputError
from data_prep.common.one_at_a_time import one_at_a_time


@contextlib.contextmanager
def work_folder(workdir) -> Iterator[None]:
    """Holds a work folder until the block ends. Of processes that train together, process 0 holds it for all.

    Raises:
      InputError: on all processes, another program holds the folder.
    """
    refused = None
    with contextlib.ExitStack() as stack:
        if jax.process_index() == 0:
            try:
                stack.enter_context(one_at_a_time(Path(workdir) / "lock", "program"))
            except InputError as error:
                refused = error
        if jax.process_count() > 1:
            is_refused = multihost_utils.broadcast_one_to_all(np.int32(refused is not None))
            if is_refused and refused is None:
                refused = InputError(f"{workdir}: process 0 could not lock the folder; see its message")
        if refused:
            raise refused
        yield
