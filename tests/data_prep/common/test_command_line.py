import codecs
import os
import subprocess
import sys

import pytest

from attention_ar.errors import InputError
from data_prep.common import command_line

PROGRAM = """
from absl import flags
from data_prep.common.command_line import run

def define_flags():
    flags.DEFINE_string("output", "here", "")
    flags.DEFINE_string("features", None, "")
    flags.DEFINE_multi_string("workdir", [], "")
    flags.DEFINE_integer("count", 1, "")
    flags.DEFINE_string("note", "", "")
    flags.DEFINE_string("coordinator_address", None, "")

def main(arguments):
    f = flags.FLAGS
    for _ in range(f.count):
        print(f.output, f.features, *f.workdir, *arguments)

run(main, define_flags, takes_arguments=True)
"""


def start(*arguments, program=PROGRAM, **environment):
    environment = {**os.environ, "HOME": "/home/ann", **environment}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, check=False)


def said(*arguments, **environment):
    done = start(*arguments, **environment)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return done.stdout.decode().rstrip("\n")


def refused(*arguments, **environment):
    done = start(*arguments, **environment)
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.decode().splitlines()
    return line


@pytest.mark.slow
def test_a_tilde_is_the_users_home(tmp_path):
    (tmp_path / "some.cfg").write_text("--features=~/f.h5\n")
    found = said("--output=~/x", "--workdir=~/a", "--workdir=b~", f"--flagfile={tmp_path}/some.cfg", "~/clip.mp4", "~")
    assert found == "/home/ann/x /home/ann/f.h5 /home/ann/a b~ /home/ann/clip.mp4 /home/ann"


@pytest.mark.slow
def test_an_address_where_a_file_is_needed():
    way = "an address, where a file or folder on this machine is needed;"
    assert refused("http://example.org/clip.mp4") == f"error: http://example.org/clip.mp4: {way} download it first"
    assert refused("--workdir=gs://a/run") == f"error: --workdir=gs://a/run: {way} mount the bucket, or copy it first"
    assert said("--features=gs://a/f", "--coordinator_address=grpc://a:1") == "here gs://a/f"


@pytest.mark.parametrize("text", ["https://a.org/f.h5", "file:///etc/passwd", "FTP://a/b"])
def test_only_buckets_are_addresses_that_some_flags_take(text):
    with pytest.raises(InputError, match="download it first"):
        command_line._refuse_address(text, "--features=", may_be_on_bucket=True)


@pytest.mark.parametrize("text", ["C:/a", "a:b.mp4", "//host/share", "", None, 3])
def test_what_is_no_address(text):
    command_line._refuse_address(text, "", may_be_on_bucket=False)


@pytest.mark.slow
def test_an_empty_flag_does_not_mean_this_folder():
    assert refused("--features=") == "error: --features=: is empty; give it a value, or leave it out"
    assert refused("--output=") == "error: --output=: is empty; give it a value, or leave it out"
    assert said("--note=") == "here None"  # empty by default


@pytest.mark.slow
def test_what_a_terminal_cannot_show_is_escaped():
    assert said("--output=挥手", PYTHONIOENCODING="ascii") == r"\u6325\u624b None"


@pytest.mark.parametrize("count", [1, 100_000])
@pytest.mark.slow
def test_nobody_reads_on(count):
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, f"--count={count}"], stdout=writing, stderr=subprocess.PIPE
    )
    os.close(reading)
    os.close(writing)
    assert process.communicate()[1] == b""
    assert process.returncode == 141


@pytest.mark.slow
def test_another_pipe_that_breaks_is_no_end_of_the_output():
    program = PROGRAM.replace("f = flags.FLAGS", "raise BrokenPipeError(32, 'a pipe of our own')")
    done = start(program=program)
    assert done.returncode == 1 and b"a pipe of our own" in done.stderr


@pytest.mark.parametrize("first", ["--output=x", "# a comment"])
@pytest.mark.slow
def test_a_file_of_flags_may_begin_with_a_byte_order_mark(tmp_path, first):
    path, nested = tmp_path / "flags.cfg", tmp_path / "nested.cfg"
    path.write_bytes(codecs.BOM_UTF8 + f"{first}\r\n--output=x\r\n--flagfile={nested}\r\n".encode())
    nested.write_bytes(codecs.BOM_UTF8 + b"--features=y\n")
    assert said(f"--flagfile={path}", "clip.mp4") == "x y clip.mp4"


@pytest.mark.slow
def test_a_file_of_flags_that_is_no_utf8(tmp_path):
    path = tmp_path / "flags.cfg"
    path.write_text("--output=x\n", encoding="utf-16")
    assert refused(f"--flagfile={path}") == f"error: --flagfile={path}: not UTF-8 text; save it as such; see --help"


@pytest.mark.slow
def test_arguments_after_two_dashes_are_left_alone():
    assert said("--", "--flagfile=none", "--output=gs://x") == "here None --flagfile=none --output=gs://x"


@pytest.mark.parametrize("platform", ["cuda", "foo"])
@pytest.mark.slow
def test_a_device_that_is_not_there(platform):
    program = PROGRAM.replace("f = flags.FLAGS", "import jax; jax.devices()")
    line = refused(program=program, JAX_PLATFORMS=platform)
    assert line.startswith(f"error: JAX_PLATFORMS={platform}: JAX finds no such device here")
    assert line.endswith("; unset it, or set it to cpu")


@pytest.mark.slow
def test_a_mistake_in_a_program_is_not_blamed_on_the_device():
    program = PROGRAM.replace("f = flags.FLAGS", "import jax; assert False, 'a mistake'")
    done = start(program=program, JAX_PLATFORMS="cpu")
    assert done.returncode == 1 and b"AssertionError: a mistake" in done.stderr
