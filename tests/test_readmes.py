"""The READMEs hold: examples run, links and anchors lead somewhere, and commands name programs and flags that exist."""

import doctest
import functools
import re
from pathlib import Path

import pytest

from data_prep.networks.registry import KINDS

ROOT = Path(__file__).resolve().parents[1]
FIRST_PAGE = ROOT / "README.md"
FOLDERS = ("attention_ar", "data_prep", "experiments", "tests")
READMES = [FIRST_PAGE, *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("README.md")))]
PROGRAMS = sorted(
    f"{folder}.{path.stem}"
    for folder in ("data_prep", "experiments")
    for path in (ROOT / folder).glob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"python -m ((?:data_prep|experiments)\.\w+)([^|;&\n`#]*)")


def name(path):
    return str(path.relative_to(ROOT))


def read(path):
    return path.read_text(encoding="utf-8")


def section(text, heading):
    """Returns the text under a heading of the first page, up to the next heading of its level."""
    return re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL).group(1)


@functools.cache
def anchors(path):
    """Returns the anchors that GitHub gives to the headings of a Markdown file."""
    found = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", _FENCE.sub("", read(path)), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.append(f"{anchor}-{found.count(anchor)}" if anchor in found else anchor)
    return found


def broken_links(path):
    """Returns what a README links to and is not there."""
    broken = []
    for target in _LINK.findall(_CODE.sub("", _FENCE.sub("", read(path)))):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        file = (path.parent / place).resolve() if place else path
        if not file.exists() or not file.is_relative_to(ROOT) or (anchor and anchor not in anchors(file)):
            broken.append(target)
    return broken


def commands(path):
    """Returns pairs of a module and its flags' names, one for each command line that a README quotes."""
    lines = read(path).replace("\\\n", " ")
    return [
        (module, re.findall(r"(?<![\w-])--(\w+)", arguments.split(" -- ")[0]))
        for module, arguments in _COMMAND.findall(lines)
    ]


@functools.cache
def flag_names():
    """Returns the names of all flags: of DEFINE_… calls, of dataclass fields that are an `option`, and of networks."""
    sources = [read(path) for folder in ("data_prep", "experiments") for path in (ROOT / folder).rglob("*.py")]
    defined = {name for text in sources for name in re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", text)}
    options = {name for text in sources for name in re.findall(r"^    (\w+): .* = option\(", text, re.MULTILINE)}
    of_networks = {option for kind in KINDS.values() for option in kind.options}
    return defined | options | of_networks | {"flagfile", "help"}


@pytest.mark.parametrize("path", READMES, ids=name)
def test_links_lead_somewhere(path):
    assert broken_links(path) == []


@pytest.mark.parametrize("path", READMES, ids=name)
def test_commands_name_programs_and_flags_that_exist(path):
    for module, flags in commands(path):
        assert module in PROGRAMS
        unknown = {flag for flag in flags if not {flag, flag.removeprefix("no")} & flag_names()}
        assert not unknown, f"{module}: {unknown}"


@pytest.mark.parametrize("named", [r"(?:python|-m pytest) (\S+\.py)", r"--flagfile=([\w/.]+)"])
def test_scripts_and_flag_files_named_in_commands_exist(named):
    found = [file for path in READMES for file in re.findall(named, read(path))]
    assert found
    assert [file for file in found if not (ROOT / file).is_file()] == []


def test_every_folder_says_what_it_is_for():
    assert {name(path) for path in READMES} >= {f"{folder}/README.md" for folder in FOLDERS}


def test_the_first_page_is_one_page():
    assert len(FIRST_PAGE.read_bytes()) <= 10_000


def test_the_first_page_lists_every_program():
    table = section(read(FIRST_PAGE), "Commands")
    listed = {word for row in table.splitlines() if row.startswith("|") for word in re.findall(r"`([\w.]+)`", row)}
    assert set(PROGRAMS) - listed == set()
    assert {word for word in listed if word.startswith(("data_prep.", "experiments."))} - set(PROGRAMS) == set()


def test_the_layout_shows_every_room():
    layout, folder, shown = section(read(FIRST_PAGE), "Layout"), None, set()
    for line in re.search(r"^```\n(.*?)^```$", layout, re.MULTILINE | re.DOTALL).group(1).splitlines():
        indent, room = re.match(r"( *)(\w+)/", line).groups()
        folder = room if not indent else folder
        shown.add(room if not indent else f"{folder}/{room}")
    assert {place for place in shown if not (ROOT / place).is_dir()} == set()
    rooms = {name(path.parent) for folder in FOLDERS[:3] for path in (ROOT / folder).glob("*/__init__.py")}
    assert rooms - shown == set()


def test_the_files_named_in_the_layout_exist():
    named = re.findall(r"`((?:attention_ar|data_prep|experiments|tests)/[\w/.]+)`", read(FIRST_PAGE))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_command_of_the_tests_is_on_one_line():
    lines = [line for line in read(FIRST_PAGE).splitlines() if re.match(r"python3 -m venv .* -m pytest", line)]
    assert lines == ["python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest"]


@pytest.mark.parametrize("path", [path for path in READMES if ">>> " in read(path)], ids=name)
@pytest.mark.slow
def test_examples_run(path):
    found = doctest.testfile(str(path), module_relative=False, encoding="utf-8")
    assert found.attempted
    assert found.failed == 0


def test_a_command_line_is_read_whole(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(
        "`python -m experiments.train --a=1 \\\n --nob` and\n"
        "```\nF='python -m data_prep.download --c'; x --d\npython -m experiments.predict x -- --e\n```\n"
    )
    assert commands(page) == [
        ("experiments.train", ["a", "nob"]),
        ("data_prep.download", ["c"]),
        ("experiments.predict", []),
    ]


def test_a_broken_link_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    page = tmp_path / "README.md"
    page.write_text("# A page\n[here](#a-page) [gone](#b) [file](no.py) [![picture](no.png)](README.md) `x`\n")
    assert broken_links(page) == ["#b", "no.py", "no.png"]
