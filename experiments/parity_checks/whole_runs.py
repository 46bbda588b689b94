"""Parity with whole recorded runs of the authors' scripts: training, checkpoint, evaluation, notebook."""

import functools
import math
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attention_ar.errors import InputError
from attention_ar.released import (
    OPTIMIZERS,
    ReleasedAttentionLSTM,
    ReleasedObjective,
    read_model,
    write_model,
)
from attention_ar.released.blocks import released_skip
from attention_ar.released.evaluation import accuracy, average_precisions, mean_average_precision, vote
from data_prep.released.layout import read_released_dataset
from experiments.parity_checks.data_handler import Windows
from experiments.parity_checks.models import DEAD_GRADIENT, model_options, released_cost
from experiments.parity_checks.table import FLOAT32, Case, compare, errors, load_arrays, noted, same, stated

SPLITS = {"TestTrainProto": "train", "TestValidProto": "valid", "TestTestProto": "test"}


class Run:
    """What a recorded run was given.

    Attributes:
      options: the authors' options.
      model, objective: ours.
      data: the data set of each split; where there is no "valid", the original validates on "test".
    """

    def __init__(self, case: Case):
        self.options = {name: value[0] for name, value in case.about["options"].items()}
        folder = only(case.folder / "data", "*/*/train_features.h5").parent
        self.data = {split: read_released_dataset(folder, split) for split in ("train", "test")}
        self.validates_on_test = not (folder / "valid_features.h5").exists()
        self.data["valid"] = self.data["test"] if self.validates_on_test else read_released_dataset(folder, "valid")
        self.multi_label = self.data["train"].multi_label
        self.model = ReleasedAttentionLSTM(**model_options(self.options), multi_label=self.multi_label)
        self.objective = ReleasedObjective(self.options["alpha_c"], self.options["decay_c"], self.multi_label)

    @property
    def optimizer(self):
        """The optimiser of the run."""
        return OPTIMIZERS[self.options["optimizer"]](self.options["learning_rate"])

    @functools.cache  # noqa: B019 (a run lives as long as the program)
    def windows(self, split, stride="testing_stride"):
        """The blocks of a split."""
        skip = released_skip(self.options["fps"])
        return Windows(self.data[split], self.options["maxlen"], skip, self.options[stride])

    @property
    def first_epoch(self) -> int:
        """The number of updates in an epoch: the update after which the first one ends."""
        return math.ceil(len(self.windows("train", "training_stride").video) / self.options["batch_size"])


def only(folder: Path, pattern: str) -> Path:
    """Returns the one file that fits a pattern."""
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise InputError(f"{folder}: {len(files)} files {pattern}; must be one")
    return files[0]


def run_case(case: Case):
    """Yields the rows of one recorded run."""
    run = Run(case)
    if run.validates_on_test:
        yield noted(case.name, "the original validates on the test files; ours holds out a part of train")
    params = {name: case.arrays[f"init__{name}"] for name in case.about["param_order"]}
    if any(evaluation["after_update"] < run.first_epoch for evaluation in case.about["evals"]):
        what = "the original keeps the end of its first epoch, whatever its score; our training keeps the best"
        yield noted(case.name, what)
    yield from training_rows(case, run, params)
    yield from checkpoint_rows(case, run)


def training_rows(case: Case, run: Run, params):
    """Yields the rows on training, from the recorded initial parameters on and with the recorded batches.

    Many updates amplify the rounding errors of float32. The tolerance is 1e-4, or three times the difference
    between our own float32 and float64 runs where that is greater; scores are compared where these two agree.
    """
    if run.options["use_dropout"]:
        yield noted(case.name, "training: not repeated, as its dropout masks are not recorded")
        return
    recorded = case.arrays
    real = np.sum(recorded["update_starts"] >= 0, axis=1)
    yield same(case.name, "training: examples in a batch", real, recorded["update_n_ex"])
    ours = Replay(case, run, params, np.float32)
    with jax.enable_x64(True):
        exact = Replay(case, run, params, np.float64)

    def row(quantity, in32, in64, reference, array="", against="relative"):
        own = errors(in32, in64)[against == "relative"]
        tolerance = max(1e-4, 3 * own)
        return compare(case.name, f"training: {quantity}", in32, reference, tolerance, array, FLOAT32, against)

    yield row("cost of each update", ours.costs, exact.costs, recorded["update_costs"])
    alive = [n for n, name in enumerate(case.about["param_order"]) if name != DEAD_GRADIENT]
    # The sums are relative to the absolute sums, and these at least 1e-3 for each number in them.
    sizes = np.array([params[case.about["param_order"][n]].size for n in alive])
    scale = np.maximum(recorded["update_param_sum_abssum"][:, alive, 1:], 1e-3 * sizes[None, :, None])
    sums = [array[:, alive] / scale for array in (ours.sums, exact.sums, recorded["update_param_sum_abssum"])]
    yield row("sums of each parameter after each update", *sums, against="absolute")
    for name in ours.params.keys() - {DEAD_GRADIENT}:
        last = recorded[f"lastupdate__{name}"]
        yield row("parameters after the last update", ours.params[name], exact.params[name], last, name)
    scores = recorded["eval_values"]
    steady = np.isclose(ours.scores, exact.scores, rtol=0, atol=1e-9)
    yield from score_rows(case.name, "training: scores", ours.scores[steady], scores[steady])
    if np.all(steady & np.isfinite(scores)):
        _, best = read_model(only(case.folder / "run", "*.npz"))
        for name in ours.best.keys() - {DEAD_GRADIENT}:
            yield row("parameters it keeps", ours.best[name], exact.best[name], best[name], name)


def checkpoint_rows(case: Case, run: Run):
    """Yields the rows on the recorded checkpoint: its options, its predictions, and the notebook's."""
    recorded, name = case.arrays, case.name
    path = only(case.folder / "run", "*.npz")
    told = ("temperature_inverse", "use_dropout", "last_n")
    model, params = read_model(path, multi_label=run.multi_label, **{option: run.options[option] for option in told})
    wrong = [option for option, value in model_options(run.options).items() if getattr(model, option) != value]
    yield same(name, "checkpoint: options", len(wrong), 0, ", ".join(wrong))
    what = "the original cannot load a checkpoint without the pickled options beside it; ours reads them off the arrays"
    yield stated(name, what, not wrong)
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / "model.npz", params)
        written = load_arrays(Path(folder) / "model.npz")
    equal = written.keys() == params.keys() and all(np.array_equal(written[n], params[n]) for n in params)
    yield stated(name, "checkpoint: written again", equal)
    predict = jax.jit(lambda x: model.apply({"params": params}, x))
    scores = []
    for proto, split in SPLITS.items():
        video = recorded[f"final_{proto}_window_video"]
        yield same(name, "evaluation: videos of the blocks", run.windows(split).video, video, split)
        ours = predict(all_blocks(run, split, np.float32))[1]["prediction"]
        predictions = recorded[f"final_{proto}_window_preds"]
        if run.multi_label:
            yield compare(name, "evaluation: scores of the blocks", ours, predictions, 2e-5, split, FLOAT32)
        else:
            predictions = predictions.astype(np.int64)
            yield same(name, "evaluation: classes of the blocks", ours, predictions, split)
        yield from video_rows(case, run, proto, split, predictions)
        scores.append(score(run, split, predictions))
    yield from score_rows(name, "evaluation: scores", np.array(scores), recorded["final_errs"])
    with np.load(path, allow_pickle=False) as file:
        if "train_err" in file.files:
            kept = np.array([file[f"{split}_err"] for split in SPLITS.values()])
            yield from score_rows(name, "checkpoint: scores kept in it", np.array(scores), kept)
    examples = case.folder / "notebook_single_examples.npz"
    if examples.is_file():
        yield from example_rows(case, run, predict, load_arrays(examples))


def score_rows(name, quantity, ours, recorded):
    """Yields the row on scores, and another where the record is not a number."""
    defined = np.isfinite(recorded)
    yield compare(name, quantity, ours[defined], recorded[defined], 1e-9)
    if not np.all(defined):
        what = "the original's mean is NaN where a class has no video; ours leaves it out and warns"
        yield stated(name, what, bool(np.all(np.isfinite(ours))))


def video_rows(case, run, proto, split, predictions):
    """Yields the rows on the videos' predictions that follow from those of their blocks."""
    recorded, videos = case.arrays, video_predictions(run, split, predictions)
    last = recorded[f"final_{proto}_video_pred_last"]
    if not run.multi_label:
        yield same(case.name, "evaluation: votes", videos, last, split)
        return
    falling = -np.sort(-videos[:, -1])
    yield compare(case.name, "evaluation: scores of the videos", falling, last, 2e-5, split, FLOAT32)
    ours = average_precisions(videos, run.data[split].labels)
    theirs = recorded[f"final_{proto}_AP"]
    yield compare(case.name, "evaluation: average precision", np.nan_to_num(ours), np.nan_to_num(theirs), 1e-9, split)


def example_rows(case, run, predict, recorded):
    """Yields the rows on the notebook's examples: one block of each test video."""
    windows = run.windows("test")
    long = np.array([len(cubes) >= windows.num_steps * windows.skip for cubes in windows.cubes])
    x = np.stack([windows.read(video, 0) * long[video] for video in range(len(windows.cubes))])
    _, out = predict(x)
    yield same(case.name, "notebook: examples that are not zero", long, recorded["nonzero_input"])
    yield compare(case.name, "notebook: attention", out["attention"], recorded["alphas"][:, :, 0], 2e-5, "", FLOAT32)
    predictions = recorded["preds"][:, 0]
    tolerance = 2e-5 if run.multi_label else 0.0
    yield compare(case.name, "notebook: predictions", out["prediction"], predictions, tolerance)
    if not np.all(long):
        what = "the original feeds zeros where an example is short; ours repeats the last frame; compared with zeros"
        repeated = [
            np.array_equal(windows.read(video, 0)[-1], cubes[windows.skip * ((len(cubes) - 1) // windows.skip)])
            for video, cubes in enumerate(windows.cubes)
            if not long[video]
        ]
        yield stated(case.name, what, all(repeated), f"{len(repeated)} times")


class Replay:
    """Our training on the recorded batches.

    Attributes:
      costs: before each update, `<float64>[U]`.
      sums: sum and absolute sum of each parameter after each update, `<float64>[U, P, 2]`.
      scores: of each recorded evaluation, in its order.
      params: after the last update.
      best: those that the original keeps: of the best validation score so far, the latest among equals; and those at
        the end of the first epoch, also where an evaluation within it was better.
    """

    def __init__(self, case: Case, run: Run, params, dtype):
        about = case.about
        update, predict = compiled(run)
        params = {name: jnp.asarray(value, dtype) for name, value in params.items()}
        state = run.optimizer.init(params)
        splits = [SPLITS[evaluation["split"]] for evaluation in about["evals"]]
        after = [evaluation["after_update"] for evaluation in about["evals"]]
        final = len(after) - len(SPLITS)  # The last evaluations are of the best parameters.
        inputs = {split: all_blocks(run, split, dtype) for split in SPLITS.values()}
        costs, sums, self.scores, valid, self.best = [], [], [], [], params
        for u, batch in enumerate(training_batches(run, case.arrays, dtype), start=1):
            params, state, cost, sums_now = update(params, state, batch)
            costs.append(cost)
            sums.append(jnp.stack([sums_now[name] for name in about["param_order"]]))
            for n in range(final):
                if after[n] == u:
                    self.scores.append(score(run, splits[n], predict(params, inputs[splits[n]])))
                    if splits[n] == "valid":
                        valid.append(self.scores[-1])
                        if u == run.first_epoch or valid[-1] >= max(valid):
                            self.best = params
        self.scores += [score(run, split, predict(self.best, inputs[split])) for split in splits[final:]]
        self.costs = np.array(jax.device_get(costs), np.float64)
        self.sums = np.array(jax.device_get(sums), np.float64)
        self.scores = np.array(self.scores)
        self.params, self.best = jax.device_get((params, self.best))


@functools.cache
def compiled(run: Run):
    """Returns compiled functions: one update, and the predictions of blocks."""

    def update(params, state, batch):
        cost_and_beside = jax.value_and_grad(released_cost, has_aux=True)
        (cost, _), gradients = cost_and_beside(params, run.model, run.objective, *batch, None)
        updates, state = run.optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        sums = {name: jnp.stack([jnp.sum(value), jnp.sum(jnp.abs(value))]) for name, value in params.items()}
        return params, state, cost, sums

    def predict(params, x):
        return run.model.apply({"params": params}, x)[1]["prediction"]

    return jax.jit(update), jax.jit(predict)


def training_batches(run: Run, recorded, dtype):
    """Yields features, mask and labels of each batch as it was, by the lengths that the original took for right."""
    windows = run.windows("train", "training_stride")
    for starts, lengths, labels in zip(
        *(recorded[f"update_{w}"] for w in ("starts", "lengths", "labels")), strict=True
    ):
        real = starts >= 0
        x = np.zeros((len(starts), windows.num_steps, *windows.cubes[0].shape[1:]), dtype)
        x[real] = [windows.read_by_length(row, length) for row, length in zip(starts[real], lengths[real], strict=True)]
        mask = np.repeat(real[:, None], windows.num_steps, axis=1).astype(dtype)
        if not run.multi_label:
            labels = np.eye(run.model.num_classes)[np.maximum(labels, 0)]
        yield x, mask, labels.astype(dtype)


def all_blocks(run: Run, split, dtype):
    """Returns all blocks of a split as they are evaluated, `<float>[num_blocks, T, 49, D]`."""
    windows = run.windows(split)
    return np.stack([windows.read(v, s) for v, s in zip(windows.video, windows.start, strict=True)]).astype(dtype)


def video_predictions(run: Run, split, predictions):
    """Returns the classes of the videos by vote, or their mean scores."""
    video, labels = run.windows(split).video, run.data[split].labels
    if not run.multi_label:
        return vote(np.asarray(predictions), video, len(labels))
    sums = np.zeros(labels.shape)
    np.add.at(sums, video, np.asarray(predictions, np.float64))
    return sums / np.bincount(video)[:, None]


def score(run: Run, split, predictions) -> float:
    """Returns accuracy or mean average precision."""
    videos, labels = video_predictions(run, split, predictions), run.data[split].labels
    return mean_average_precision(videos, labels) if run.multi_label else accuracy(videos, labels)
