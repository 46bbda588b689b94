import json
import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from attention_ar.errors import InputError
from data_prep.common import one_at_a_time as module
from data_prep.common.one_at_a_time import one_at_a_time

HOLD = """
import sys, time
from data_prep.common import one_at_a_time as module
from data_prep.common.one_at_a_time import one_at_a_time
module.BEAT_SECONDS = 0.1
with one_at_a_time(sys.argv[1], "training"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "run" / "lock"


def hold(lock):
    command = [sys.executable, "-c", HOLD, str(lock)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    return child


def of_another_machine(lock, **changes):
    """A lock file whose owner runs elsewhere."""
    with one_at_a_time(lock, "training"):
        beats, owner = module._read(lock)
        (lock.parent / "keep").touch()
    lock.write_text(f"{beats:20d} {json.dumps({**owner, 'machine': 'elsewhere', 'host': 'node7', **changes})}\n")


@pytest.mark.slow
def test_the_second_is_refused_while_the_first_lives_and_takes_over_when_it_was_killed(lock):
    child = hold(lock)
    try:
        message = rf"run: another training is at work in it \(process {child.pid} on "
        with pytest.raises(InputError, match=message) as e, one_at_a_time(lock, "training"):
            pytest.fail("two at a time")
        assert "\n" not in str(e.value)
    finally:
        child.kill()
        child.wait()
    child.communicate()
    assert lock.exists()  # What a crash leaves.
    with one_at_a_time(lock, "training"):
        assert module._read(lock)[1]["process"] == os.getpid()
    assert not lock.exists()


def test_a_step_of_the_system_clock_kills_no_owner(lock, monkeypatch):
    boot_time = psutil._psplatform.boot_time
    with one_at_a_time(lock, "training"):
        monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot_time() + 100)  # It follows the clock.
        with pytest.raises(InputError, match="another training is at work"), one_at_a_time(lock, "training"):
            pytest.fail("two at a time")


@pytest.mark.slow
def test_an_owner_that_slept_and_was_taken_over_ends(lock):
    child = hold(lock)
    try:
        other = {**module._read(lock)[1], "machine": "elsewhere", "host": "node7", "token": "another"}
        aside = lock.with_name("aside")
        aside.write_text(f"{0:20d} {json.dumps(other)}\n")
        os.replace(aside, lock)
        printed, error = child.communicate(timeout=30)
    finally:
        child.kill()
    assert (child.returncode, printed) == (1, "")
    said = "run: was taken over by process {} on node7, because this one was silent for too long; it ends here"
    assert error.endswith(said.format(child.pid) + "\n") and error.count("\n") == 1
    assert module._read(lock)[1] == other


def test_a_folder_that_stays_empty_is_removed_and_one_that_was_there_is_not(lock):
    with one_at_a_time(lock, "training"):
        assert lock.exists()
    assert not lock.parent.exists()
    lock.parent.mkdir()
    with one_at_a_time(lock, "training"):
        pass
    assert lock.parent.exists()


def test_it_is_free_after_an_error(lock):
    with pytest.raises(ZeroDivisionError), one_at_a_time(lock, "training"):
        1 / 0  # noqa: B018
    with one_at_a_time(lock, "training"):
        pass


def test_a_process_number_that_was_given_again_is_not_the_owner(lock):
    with one_at_a_time(lock, "training"):
        beats, owner = module._read(lock)
        (lock.parent / "keep").touch()
    lock.write_text(f"{beats:20d} {json.dumps({**owner, 'began': owner['began'] - 1000, 'token': 'old'})}\n")
    with one_at_a_time(lock, "training"):
        pass


@pytest.mark.parametrize("contents", [b"", b"\0" * 50, b"lock", b"                   0 []"])
def test_what_a_crash_half_wrote_is_no_owner(lock, monkeypatch, contents):
    monkeypatch.setattr(module, "_WRITING_SECONDS", 0.2)
    lock.parent.mkdir()
    lock.write_bytes(contents)
    with one_at_a_time(lock, "training"):
        pass


def test_an_owner_on_another_machine_is_dead_when_its_heart_stands_still(lock, monkeypatch, capsys):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.3)
    of_another_machine(lock)
    with one_at_a_time(lock, "training"):
        pass
    assert "is of node7; waiting up to 0 s for a sign of life" in capsys.readouterr().out


def test_an_owner_on_another_machine_lives_while_its_heart_beats(lock, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 5)
    of_another_machine(lock)
    owner = module._read(lock)[1]
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    done = threading.Event()
    heart = threading.Thread(target=module._beat, args=(lock, owner, done))
    heart.start()
    try:
        message = r"another training is at work in it .* on node7, since"
        with pytest.raises(InputError, match=message), one_at_a_time(lock, "training"):
            pytest.fail("two at a time")
    finally:
        done.set()
        heart.join()


@pytest.mark.slow
def test_of_many_that_find_a_dead_one_exactly_one_takes_over(lock):
    child = hold(lock)
    child.kill()
    child.wait()
    child.communicate()
    held, refused, free = [], [], threading.Event()

    def attempt():
        try:
            with one_at_a_time(lock, "training"):
                held.append(1)
                free.wait(20)
        except InputError:
            refused.append(1)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 20
    while len(refused) < 7 and time.monotonic() < until:
        time.sleep(0.02)
    free.set()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 7)


def test_waiting(lock):
    order = []

    def second():
        with one_at_a_time(lock, "unpacking", wait=True):
            order.append("second")

    with one_at_a_time(lock, "unpacking"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"), one_at_a_time(tmp_path / "file" / "lock", "training"):
        pass
