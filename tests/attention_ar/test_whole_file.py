"""Files appear whole, whoever writes beside."""

import os
import time

import pytest

from attention_ar.whole_file import path_beside, whole_file


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "x.json"
    (tmp_path / "x.json.partial").mkdir()  # Of an extraction, for example.
    with whole_file(path) as first:
        first.write_text("first")
        with whole_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert sorted(os.listdir(tmp_path)) == ["x.json", "x.json.partial"]


def test_a_failed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as beside:
        beside.write_text("half")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["x.json"]
    assert path.read_text() == "old"


def test_what_killed_writers_left_is_deleted_once_it_is_old(tmp_path):
    path = tmp_path / "[a]*.npz"
    old, fresh, others = path_beside(path), path_beside(path), path_beside(tmp_path / "b.npz")
    for left in (old, fresh, others):
        left.touch()
    for left in (old, others):
        os.utime(left, (time.time() - 4000,) * 2)
    with whole_file(path) as beside:
        beside.touch()
    assert set(os.listdir(tmp_path)) == {path.name, fresh.name, others.name}
