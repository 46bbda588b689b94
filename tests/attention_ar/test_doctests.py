"""The examples in docstrings run, and the public names have one. (For the READMEs', see tests/test_readmes.py.)"""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import attention_ar
from attention_ar.released import optimizers

MODULES = [
    "attention_ar",
    *(module.name for module in pkgutil.walk_packages(attention_ar.__path__, prefix="attention_ar.")),
]


def examples(name):
    module = importlib.import_module(name)
    return [test for test in doctest.DocTestFinder().find(module, name) if test.examples]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    runner = doctest.DocTestRunner(verbose=False)
    for test in examples(name):
        report = []
        runner.run(test, out=report.append)
        assert not report, "".join(report)


@pytest.mark.parametrize(
    "public",
    [
        attention_ar,
        attention_ar.SoftAttentionLSTM,
        attention_ar.PooledLSTM,
        attention_ar.SoftmaxRegression,
        attention_ar.ReleasedAttentionLSTM,
        optimizers.released_adam,
        *(
            getattr(importlib.import_module(f"attention_ar.{module}"), name)
            for module, names in {
                "attention": ["location_softmax", "expected_slice"],
                "first_state": ["first_state"],
                "loop": ["time_loop"],
                "loss": ["cross_entropy", "attention_penalty", "PaperObjective"],
                "lstm": ["lstm_step"],
                "products": ["product"],
            }.items()
            for name in names
        ),
    ],
    ids=lambda public: public.__name__,
)
def test_what_users_call_has_an_example(public):
    assert ">>> " in inspect.getdoc(public)
