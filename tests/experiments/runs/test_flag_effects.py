"""Flags without effect: which they are, where they are refused, and where they are not."""

import pytest
from absl import flags

from attention_ar.errors import InputError
from data_prep.common.files import write_json
from experiments.runs.config import RunConfig, as_flags, define_run_flags, from_flags, with_flags
from experiments.runs.flag_effects import given, refuse_without_effect
from experiments.runs.resumption import require_same_flags
from experiments.tables.comparison import ATTENTION, ROWS
from experiments.tables.grid import parse_grid, refuse_flags_without_effect


def refuse(*arguments):
    """What `checked_run_config` does with these arguments."""
    values = flags.FlagValues()
    define_run_flags(values)
    values(["train", *flags.FlagValues().read_flags_from_files(arguments)])
    config = from_flags(RunConfig, values)
    refuse_without_effect(config, [config], given(as_flags(config), list(arguments)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "--model=average_pool --attention_penalty=10",
            "attention_penalty=10: has no effect with model=average_pool; it is for model=soft_attention or released",
        ),
        (
            "--model=softmax_regression --num_layers 5",
            "num_layers=5: has no effect with model=softmax_regression; "
            "it is for model=average_pool or max_pool or soft_attention",
        ),
        ("--model=released --num_layers=2", "num_layers=2: has no effect with model=released"),
        ("--selector", "selector=True: has no effect with model=soft_attention; it is for model=released"),
        ("--model=max_pool --dim_out=7", "dim_out=7: has no effect with model=max_pool; it is for model=released"),
        (
            "--optimizer=released_adam --learning_rate=7",
            "learning_rate=7: has no effect with optimizer=released_adam, whose rate is fixed; "
            "it is for optimizer=adam or released_sgd",
        ),
        (
            "--model=softmax_regression --time_loop=plain",
            "time_loop=plain: has no effect with model=softmax_regression; it is for model=average_pool or max_pool",
        ),
        ("--fold=1", "fold=1: needs --folds, the number of folds"),
        ("--level_scales=2", "level_scales=2: needs --levels, several of them"),
        (
            "--model=average_pool --levels=inception_5b,a",
            "levels=inception_5b,a: has no effect with model=average_pool",
        ),
        ("--levels=inception_5b,a,a", "levels=inception_5b,a,a: names a twice; must be names by commas, each once"),
        ("--test_fold=1", "test_fold=1: needs --test_folds, the number of folds"),
        ("--folds=3 --validation_fraction=0.3", "validation_fraction=0.3: has no effect with folds=3"),
        ("--folds=3 --split_seed=1", "split_seed=1: has no effect with folds=3"),
        ("--validation_fraction=0 --split_seed=1", "split_seed=1: has no effect with validation_fraction=0"),
        ("--validation_fraction=0 --patience=2", "patience=2: has no effect with validation_fraction=0: nothing is"),
        ("--num_samples=2", "num_samples=2: has no effect with attention=soft; it is for attention=hard, window"),
        ("--entropy_weight=0", "entropy_weight=0: has no effect with attention=soft; it is for attention=hard, window"),
        ("--soft_probability=0", "soft_probability=0: has no effect with attention=soft"),
        ("--attention=hard --window=2", "window=2: has no effect with attention=hard; it is for attention=window"),
        ("--window=2", "window=2: has no effect with attention=soft; it is for attention=window"),
        (
            "--model=average_pool --attention=hard",
            "attention=hard: has no effect with model=average_pool; it is for model=soft_attention or released",
        ),
        (
            "--model=max_pool --estimator=gumbel_st",
            "estimator=gumbel_st: has no effect with model=max_pool; it is for model=soft_attention or released",
        ),
        ("--model=max_pool --glimpse_rule=sample", "glimpse_rule=sample: has no effect with model=max_pool; it is for"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(InputError) as error:
        refuse(*arguments.split())
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--attention_penalty=10 --num_layers=5 --learning_rate=7",
        "--model=average_pool --attention_penalty=0 --noselector",  # As by default.
        "--model=released --selector --dropout=0 --optimizer=released_sgd --learning_rate=7",
        "--last_n=16",  # The released protocol scores any model by them.
        "--folds=3 --fold=2",
        "--model=average_pool -- --attention_penalty=10",
    ],
)
def test_not_refused(arguments):
    refuse(*arguments.split())


def test_a_flag_file_is_shared_by_all_models(tmp_path):
    (tmp_path / "shared.cfg").write_text("--attention_penalty=1\n--hidden_dim=1024\n")
    refuse(f"--flagfile={tmp_path}/shared.cfg", "--model=softmax_regression")
    with pytest.raises(InputError, match="hidden_dim=7: has no effect"):
        refuse(f"--flagfile={tmp_path}/shared.cfg", "--model=softmax_regression", "--hidden_dim=7")


def test_a_table_refuses_what_no_row_heeds():
    def refuse_in(rows, **values):
        config = with_flags(RunConfig(), **values)
        refuse_without_effect(config, [ROWS[row].configure(config, 0) for row in rows if ROWS[row].model], values)

    refuse_in(ROWS, selector=True, num_layers=2)
    with pytest.raises(InputError, match="selector=True: has no effect with model=soft_attention"):
        refuse_in(ATTENTION, selector=True)


def test_a_grid_refuses_what_one_of_its_points_does_not_heed():
    def refuse_grid(texts, names=(), **values):
        refuse_flags_without_effect(with_flags(RunConfig(), folds=5, **values), parse_grid(texts), names)

    refuse_grid(["attention_penalty=0,1"], ["folds"])
    refuse_grid(["model=average_pool,soft_attention", "num_layers=1,2"], ["attention_penalty"], attention_penalty=1.0)
    with pytest.raises(InputError, match="attention_penalty=1: has no effect with model=average_pool"):
        refuse_grid(["attention_penalty=0,1"], model="average_pool")
    with pytest.raises(InputError, match="attention_penalty=1: has no effect with model=max_pool"):
        refuse_grid(["model=soft_attention,max_pool", "attention_penalty=0,1"])
    with pytest.raises(InputError, match="seed=3: has no effect: --folds and --seeds say"):
        refuse_grid([], ["seed"], seed=3)


def test_a_run_resumes_without_the_flags_that_had_no_effect(tmp_path):
    old = with_flags(RunConfig(), features="f.h5", model="average_pool", attention_penalty=10.0)
    write_json(tmp_path / "config.json", {"data": {"features": "f.h5"}, "model": {"model": "average_pool"}})
    require_same_flags(tmp_path, old)
    with pytest.raises(InputError, match=r"holds a run with num_layers=3 \(now 2\)"):
        require_same_flags(tmp_path, with_flags(old, num_layers=2))
