"""The examples in docstrings run, and the public names have one. (For the READMEs', see tests/test_readmes.py.)"""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import attention_ar
from attention_ar.released import optimizers

FOLDER = Path(attention_ar.__file__).parent
WITH_EXAMPLES = sorted(path for path in FOLDER.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples_in_docstrings_run(path):
    name = ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts).removesuffix(".__init__")
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted
    assert found.failed == 0


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
