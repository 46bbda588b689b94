"""Checkpoints: the latest and the best, written atomically by Orbax while training continues."""

import contextlib
import math
import os
import re
import shutil
import tempfile

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from attention_ar.errors import InputError, one_line, writing
from attention_ar.training.named_params import require_same_shapes

_REMOVED = "removed"
_PLAIN_PATH = re.compile(r"[\w./ +=@-]*", re.ASCII)


class Checkpoints(contextlib.AbstractContextManager):
    """The checkpoints of one run: the latest, and the one of the best score, which may be older.

    A checkpoint has three parts: `params`, `training` (the rest of the TrainState), and the metadata (`about` on
    disk), a JSON object that says what the parameters are. What a killed process wrote or removed only in part is not a
    checkpoint.
    """

    def __init__(self, directory, create: bool = True):
        """Opens the folder `directory`. If it is missing, it is created with `create`, else refused."""
        self.directory, self._writes = os.path.abspath(directory), create
        if not create and not os.path.isdir(self.directory):
            raise InputError(f"{self.directory}: no checkpoints here; train first, or name another --workdir")
        path = self._plain_path()
        keep = policies.AnyPreservationPolicy([policies.LatestN(1), policies.BestN(get_metric_fn=_rank, n=1)])
        options = ocp.CheckpointManagerOptions(
            preservation_policy=keep,
            best_fn=_rank,
            create=create,
            cleanup_tmp_directories=create,
            todelete_subdir=_REMOVED,  # After this rename it is no longer a checkpoint.
        )
        handlers = {
            "params": ocp.StandardCheckpointHandler(),
            "training": ocp.StandardCheckpointHandler(),
            "about": ocp.JsonCheckpointHandler(),
        }
        self._manager = ocp.CheckpointManager(path, options=options, item_handlers=handlers)

    def _plain_path(self) -> str:
        """Returns a path of the folder that Orbax and TensorStore read literally.

        They read brackets as a pattern, a backslash for a slash and a colon for the end of a scheme. A folder whose
        path holds such a character is given to them as a link in a temporary folder.
        """
        self._link = None
        if _PLAIN_PATH.fullmatch(self.directory):
            return self.directory
        if self._writes:
            with writing(self.directory):
                os.makedirs(self.directory, exist_ok=True)
        self._link = tempfile.TemporaryDirectory(prefix="checkpoints-")
        path = os.path.join(self._link.name, "checkpoints")
        os.symlink(self.directory, path, target_is_directory=True)
        return path

    def __exit__(self, kind, *_):
        try:
            self._manager.close()
        except Exception as error:
            if kind is None:
                raise self._not_written(error) from error
        finally:
            if self._link:
                self._link.cleanup()
        self._remove_for_good()

    def save(self, state, metadata: dict, score: float = -math.inf, loss: float = math.inf):
        """Saves `state` and its metadata under the step, or under the next free number, in the background.

        The best checkpoint is that of the highest `score`, among equals the one of the lowest `loss`, then the latest.

        Raises:
          InputError: where this one or the one before could not be written.
        """
        number, latest = int(state.step), self.step()
        if latest is not None and number <= latest:
            number = latest + 1
        parts = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            training=ocp.args.StandardSave(_besides_params(state)),
            about=ocp.args.JsonSave(metadata),
        )
        self.wait()
        self._remove_for_good()
        try:
            self._manager.save(number, args=parts, metrics={"score": float(score), "loss": float(loss)}, force=True)
        except Exception as error:
            raise self._not_written(error) from error

    def wait(self):
        """Waits until what was saved is on disk. Raises: see `save`."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._not_written(error) from error

    def _not_written(self, error) -> InputError:
        said = str(error).replace(self._link.name, os.path.dirname(self.directory)) if self._link else str(error)
        reason = one_line(said or type(error).__name__)
        return InputError(
            f"{self.directory}: a checkpoint could not be written ({reason}); make room or another --workdir; the same "
            f"command resumes from {self.last_whole()}"
        )

    def last_whole(self) -> str:
        """Returns where the last whole checkpoint lies, or "the beginning"."""
        return last_whole(self.directory)

    def _remove_for_good(self):
        """Removes old checkpoints, which are renamed already; not while Orbax may be writing to them."""
        removed = os.path.join(self.directory, _REMOVED)
        if self._writes and jax.process_index() == 0 and os.path.isdir(removed):
            shutil.rmtree(removed, ignore_errors=True)

    def step(self, which: str = "latest") -> int | None:
        """Returns the step of the "latest" or the "best" checkpoint, None if there is none."""
        if which not in ("latest", "best"):
            raise InputError(f"checkpoint={which!r}: must be 'latest' or 'best'")
        return self._manager.latest_step() if which == "latest" else self._manager.best_step()

    def _existing_step(self, which):
        step = self.step(which)
        if step is None:
            raise InputError(f"{self.directory}: holds no checkpoint; train first")
        return step

    def metadata(self, which: str = "latest") -> dict:
        """Returns the metadata that was saved."""
        step = self._existing_step(which)
        return self._manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]

    def params(self, like, which: str = "best"):
        """Returns the parameters.

        Args:
          like: parameters, or their shapes and types, as the model has them.
          which: "best" or "latest".

        Raises:
          InputError: where the checkpoint's parameters have other names or shapes.
        """
        step = self._existing_step(which)
        metadata = self._manager.item_metadata(step)["params"]
        require_same_shapes(f"{self.directory}/{step}", metadata.tree, like)
        restored = self._manager.restore(
            step, args=ocp.args.Composite(params=ocp.args.StandardRestore(_abstract(like)))
        )
        return restored["params"]

    def state(self, like, which: str = "latest"):
        """Returns the whole TrainState; see `params`."""
        params = self.params(like.params, which)
        step = self._existing_step(which)
        args = ocp.args.Composite(training=ocp.args.StandardRestore(_abstract(_besides_params(like))))
        return like.replace(params=params, **self._manager.restore(step, args=args)["training"])


def last_whole(directory) -> str:
    """Returns where the last whole checkpoint in the folder `directory` lies, or "the beginning"."""
    steps = [int(name) for name in os.listdir(directory) if name.isdecimal()] if os.path.isdir(directory) else []
    return os.path.join(directory, str(max(steps))) if steps else "the beginning"


def _besides_params(state) -> dict:
    training = {"step": state.step, "opt_state": state.opt_state}
    return training if state.baseline is None else {**training, "baseline": state.baseline}


def _rank(metrics):
    return metrics["score"], -metrics["loss"]


def _abstract(tree):
    """Shapes and dtypes only; arrays that have a sharding keep it."""
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)
