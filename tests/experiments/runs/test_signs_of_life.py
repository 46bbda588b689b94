import sys
import time

import pytest

from experiments.runs.signs_of_life import signs_of_life


@pytest.mark.slow
def test_what_is_at_work_is_said_only_when_nothing_else_is(capsys):
    with signs_of_life("loading", quiet_seconds=0.2) as now_doing:
        print("begun")
        time.sleep(0.5)
        now_doing("training")
        for _ in range(6):
            time.sleep(0.05)
            print("epoch", file=sys.stderr)
        assert "… training" not in capsys.readouterr().err
        time.sleep(0.5)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("… training, ")
    time.sleep(0.3)
    assert capsys.readouterr().err == ""  # it is over


def test_the_streams_are_what_they_were():
    before = sys.stdout, sys.stderr
    with signs_of_life():
        assert sys.stdout is not before[0] and sys.stdout.encoding == before[0].encoding
    assert (sys.stdout, sys.stderr) == before
