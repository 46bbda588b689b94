"""The flags of programs that take a trained run: which run, which checkpoint, which clips."""

from absl import flags

from attention_ar.hard_attention import GLIMPSE_RULES

flags.disclaim_key_flags()  # The flags belong to the program that calls `define`.


def define(*names: str):
    """Defines the flags of these names: workdir, checkpoint, features, data_dir, split, glimpse_rule, reject_below."""
    for name in names:
        _DEFINITIONS[name]()


_DEFINITIONS = {
    "workdir": lambda: flags.DEFINE_string("workdir", None, "Folder of a trained run.", required=True),
    "checkpoint": lambda: flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Which checkpoint of the run."),
    "features": lambda: flags.DEFINE_string(
        "features", None, "Features file; by default the one the run was trained on."
    ),
    "data_dir": lambda: flags.DEFINE_string(
        "data_dir", None, "Folder of the clips; by default where they were when extracted."
    ),
    "explain": lambda: flags.DEFINE_enum(
        "explain",
        "attention",
        ["attention", "evidence"],
        "What is white over the frames: where the model looks, or what of it speaks for the class that it says.",
    ),
    "glimpse_rule": lambda: flags.DEFINE_enum(
        "glimpse_rule", None, GLIMPSE_RULES, "Of a run with hard attention, where it looks; by default the run's own."
    ),
    "split": lambda: flags.DEFINE_enum(
        "split", "test", ["train", "validation", "test"], "Part of the features file that clips are taken from."
    ),
    "reject_below": lambda: flags.DEFINE_float(
        "reject_below",
        None,
        'Answers less probable than this are "none of these"; the report shows accuracy against coverage.',
        lower_bound=0,
        upper_bound=1,
    ),
}
