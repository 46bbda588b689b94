"""The quickstart on a folder of clips: from the clips to a trained model, and what to expect of it, step by step."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

from attention_ar.errors import InputError
from data_prep.common.cores import num_cores
from data_prep.common.files import write_whole
from data_prep.common.one_at_a_time import one_at_a_time
from data_prep.features.extraction import extract
from data_prep.features.opening import open_features
from experiments.first_steps.closing import closing_lines, summary
from experiments.first_steps.estimate import COMPARED, FINAL, estimate
from experiments.first_steps.looking import Look, look_at
from experiments.first_steps.network_choice import network_for
from experiments.first_steps.settings import HIDDEN_DIM, LEARNING_RATE, Settings, choose_settings
from experiments.first_steps.time_left import Step, TimeLeft
from experiments.html_report.contents import report
from experiments.runs.autosave import Stopped
from experiments.runs.config import DataConfig, ModelConfig, RunConfig, RuntimeConfig, TrainingConfig, with_flags
from experiments.runs.data_notes import MANY, near_copies
from experiments.runs.evaluation import evaluate
from experiments.runs.models import MODELS
from experiments.runs.split import choose_videos
from experiments.runs.training import train

# Guesses of the times on one core, before the first of each kind is measured.
_FRAMES_PER_SECOND = 25.0
_BLOCKS_PER_SECOND = {"soft_attention": 30.0, "average_pool": 40.0, "softmax_regression": 400.0}  # of 30 frames
_RUN_SECONDS = 8.0  # of a training besides its blocks: compiling, saving
_REPORT_SECONDS = 15.0


def own_clips(
    workdir: Path,
    data_dir: str,
    network: str = "auto",
    options: dict[str, str] | None = None,
    now_doing: Callable[[str], None] = lambda what: None,
) -> list[str]:
    """Looks at clips, chooses settings, extracts features, estimates what to expect, trains, evaluates and reports.

    `workdir` becomes the final model's run, which every program takes. Beside that are `features.h5`, `videos.csv`,
    `cross_validation/`, `log.txt` with all that training prints, `report.html` and `summary.md`. Killed at any moment,
    a call with the same arguments resumes.

    The final model is trained on all training clips, for as many epochs as are best in the mean over the folds: nothing
    is held out of it, since with a few clips a held-out share says little about the epoch, and the clips are needed.

    Args:
      workdir: of the final run.
      data_dir: the folder of clips, see `data_prep.datasets.folder`.
      network, options: see `network_for`.
      now_doing: is called with the next activity, see `signs_of_life`.

    Returns:
      The five lines with which it ends, see `closing_lines`.

    Raises:
      InputError: for clips from which nothing can be learnt, see `look_at`; where `workdir` holds another run, or
        another program is at work in it.
    """
    with one_at_a_time(workdir / "quickstart.lock", "quickstart"), _compiled_once(workdir / "compiled"):
        try:
            return _own_clips(workdir, data_dir, network, options, now_doing)
        except Stopped:
            print("told to stop; the same command resumes", flush=True)
            raise


def _own_clips(workdir: Path, data_dir, network: str, options, now_doing) -> list[str]:
    features = workdir / "features.h5"
    if (features.exists() or (workdir / "config.json").exists()) and not (workdir / "look.json").exists():
        raise InputError(f"{workdir}: holds a run that this command did not begin; name another --workdir")
    now_doing("looking at the clips")
    print(f"looking at the clips in {data_dir}", flush=True)
    look = look_at(data_dir, workdir)
    if look.faults:
        print(look.faults)
    print(f"{look.verdict}; all of them: {workdir / 'videos.csv'}")
    notes = look.notes()
    for line in [*look.describe(), *(f"NOTE: {note}" for note in notes)]:
        print(line, flush=True)
    units = "groups" if look.groups_known else "clips, groups unknown"
    settings = choose_settings(look.num_frames, look.fps, look.in_training, len(set(look.units)), units)

    now_doing("loading the network")
    found_network, of_features = network_for(features, network, options)
    print("chosen, by the rules in experiments/README.md:")
    for name, reason in settings.reasons.items():
        print(f"  {name} {reason}")

    terminal = sys.stdout  # What follows is printed there, and what training prints goes to the log.
    time_left = TimeLeft(_steps(look, settings, workdir), lambda line: print(line, file=terminal, flush=True))

    def begin(_=None):
        now_doing(time_left.begin().name)

    begin()
    extract(look.clip_list, found_network, features, fps=settings.fps)
    config = _config(features, settings)
    share = _near_copies(config, look)
    if share >= MANY:
        notes.append(f"{share:.0%} of the held-out clips are near copies of training clips, and groups are unknown")
        print(f"NOTE: {notes[-1]}", flush=True)
    with _into_log(workdir / "log.txt"):
        found = estimate(workdir / "cross_validation", config, settings.folds, begin)
        begin()
        train(_final(config, found.epochs), workdir, notes=False)
        found.temperature.write(workdir)  # It holds nothing out that one could be fitted on.
        test = None
        if look.has_test:
            begin()
            test, _, _ = evaluate(workdir)
        begin()
        if test:
            path, _ = report(workdir)
        else:
            path, _ = report(found.folder, split="validation", output=workdir / "report.html")
    lines = closing_lines(look, settings, found, test, path, workdir, share >= MANY)
    write_whole(workdir / "summary.md", summary(look, settings, found, of_features, notes, lines).encode())
    print("", *lines, sep="\n", flush=True)
    return lines


def _config(features: Path, settings: Settings) -> RunConfig:
    return RunConfig(
        data=DataConfig(
            str(features),
            num_steps=settings.num_steps,
            fps=settings.fps,
            stride=settings.stride,
            folds=settings.folds,
        ),
        model=ModelConfig(model=FINAL, hidden_dim=HIDDEN_DIM),
        training=TrainingConfig(settings.batch_size, settings.epochs, learning_rate=LEARNING_RATE),
        runtime=RuntimeConfig(parallel="jit"),  # Too small for several devices.
    )


def _final(config: RunConfig, epochs: int) -> RunConfig:
    """The configuration of the final model: nothing is held out."""
    return with_flags(config, validation_fraction=0.0, folds=0, epochs=epochs)


def _near_copies(config: RunConfig, look: Look) -> float:
    """Returns the share of the first fold's held-out clips that are near copies of others, where groups are unknown."""
    if look.groups_known:
        return 0.0
    file = open_features(config.data.features)
    return near_copies(file, *choose_videos(file, config))


def _steps(look: Look, settings: Settings, workdir: Path) -> list[Step]:
    """All steps, with guesses of their times."""
    extracted = (workdir / "features.h5").exists()
    frames = 0 if extracted else settings.num_frames
    steps = [Step("extracting features", "extraction", 1 + frames / (_FRAMES_PER_SECOND * num_cores()))]

    def training(model: str, blocks: float) -> float:
        return _RUN_SECONDS + blocks * settings.num_steps / 30 / (_BLOCKS_PER_SECOND[model] * num_cores())

    visits = settings.num_blocks * settings.epochs
    for model in COMPARED:
        for fold in range(settings.folds):
            done = (workdir / f"cross_validation/points/model={model}/fold_{fold}/seed_0/cell.json").exists()
            name = f"cross-validation: {MODELS[model].title}, fold {fold + 1} of {settings.folds}"
            guess = training(model, visits * (1 - 1 / settings.folds))
            steps.append(Step(name, "done", 0.5) if done else Step(name, model, guess))
    steps.append(Step("training the final model on all training clips", FINAL, training(FINAL, visits)))
    if look.has_test:
        steps.append(Step("evaluating it on the test clips", "evaluation", _RUN_SECONDS))
    return [*steps, Step("writing the report", "report", _REPORT_SECONDS)]


@contextlib.contextmanager
def _into_log(path: Path) -> Iterator[None]:
    """Sends what is printed meanwhile to a file."""
    with open(path, "a", buffering=1, encoding="utf-8") as log, contextlib.redirect_stdout(log):
        yield


@contextlib.contextmanager
def _compiled_once(folder: Path) -> Iterator[None]:
    """Keeps compiled programs in a folder meanwhile: all folds of a model run the same ones."""
    if jax.config.jax_compilation_cache_dir:
        yield
        return
    shutil.rmtree(folder, ignore_errors=True)  # What a killed call has left may be incomplete.
    jax.config.update("jax_compilation_cache_dir", str(folder))
    try:
        yield
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
        shutil.rmtree(folder, ignore_errors=True)
