"""Archives of every kind that data sets come in, hostile ones, and what a killed process leaves."""

import io
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import pytest

from attention_ar.errors import InputError
from data_prep.datasets.registry import list_clips
from data_prep.downloads import archives
from data_prep.downloads.archives import unpack_archives

try:
    import libarchive  # noqa: F401
except (ImportError, OSError, AttributeError, TypeError):  # the library itself is not on this system
    pytest.skip("needs libarchive (apt-get install libarchive13)", allow_module_level=True)

CONTENT = {"film/a b#(1)!&.avi": b"x" * 5000, "film/empty.avi": b"", "readme.txt": b"text"}


def write_rar(path, members: dict[str, bytes], links: dict[str, str] | None = None):
    """Writes an uncompressed RAR 4 archive: no free program writes any."""

    def block(kind, flags, fields, data=b""):
        head = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
        return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head + data

    def entry(name, data, mode):
        encoded = name.encode()
        fields = struct.pack(
            "<IIBIIBBHI", len(data), len(data), 3, zlib.crc32(data), 0x5A000000, 20, 0x30, len(encoded), mode
        )
        return block(0x74, 0x8000, fields + encoded, data)

    parts = [b"Rar!\x1a\x07\x00", block(0x73, 0, bytes(6))]
    parts += [entry(name, data, 0o100644) for name, data in members.items()]
    parts += [entry(name, target.encode(), 0o120777) for name, target in (links or {}).items()]
    path.write_bytes(b"".join(parts) + block(0x7B, 0x4000, b""))
    return path


def write_zip(path, members, links=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o120777 << 16
            file.writestr(info, target)
    return path


def write_tar(path, members, links=None, hard_links=None, others=()):
    kind = {".gz": "gz", ".bz2": "bz2", ".xz": "xz", ".tgz": "gz"}.get(path.suffix, "")
    with tarfile.open(path, f"w:{kind}") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        special = [(name, tarfile.SYMTYPE, target) for name, target in (links or {}).items()]
        special += [(name, tarfile.LNKTYPE, target) for name, target in (hard_links or {}).items()]
        for name, kind, target in special + [(name, kind, "") for name, kind in others]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            file.addfile(info)
    return path


WRITERS = {"rar": write_rar, "zip": write_zip, "tar": write_tar, "tar.gz": write_tar, "tgz": write_tar}
WRITERS |= {"tar.bz2": write_tar, "tar.xz": write_tar}


def tree(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", WRITERS)
def test_unpacked_beside_itself_and_once(tmp_path, kind, capsys):
    archive = WRITERS[kind](tmp_path / f"clips #1.{kind}", CONTENT)
    assert unpack_archives(tmp_path) == [tmp_path / "clips #1"]
    assert tree(tmp_path / "clips #1") == CONTENT
    assert capsys.readouterr().out == f"unpacking {archive}\n"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert unpack_archives(tmp_path) == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_rar_inside_rar_and_folders_of_the_same_name(tmp_path):
    inner = {
        name: write_rar(tmp_path / "inner.rar", {f"{name}/{name}.avi": name.encode()}).read_bytes()
        for name in ("wave", "run")
    }
    (tmp_path / "inner.rar").unlink()
    write_rar(tmp_path / "hmdb51_org.rar", {f"{name}.rar": data for name, data in inner.items()})
    unpack_archives(tmp_path)
    found = tree(tmp_path / "hmdb51_org")
    assert found["wave/wave.avi"] == b"wave" and found["run/run.avi"] == b"run"
    assert set(found) == {"wave.rar", "run.rar", "wave/wave.avi", "run/run.avi"}


def test_an_archive_within_itself_ends(tmp_path):
    data = b"end"
    for _ in range(8):
        data = write_zip(tmp_path / "r.zip", {"again/r.zip": data}).read_bytes()
    with pytest.raises(InputError, match="lies 3 archives deep; unpack it by hand"):
        unpack_archives(tmp_path)


@pytest.mark.parametrize("kind", ["rar", "zip", "tar"])
@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "film/../../x", "..\\..\\x", "C:\\x", ".."])
def test_a_member_that_would_lie_outside_is_refused_by_name(tmp_path, kind, name):
    folder = tmp_path / "deep" / "data"
    folder.mkdir(parents=True)
    archive = WRITERS[kind](folder / f"evil.{kind}", {"film/good.avi": b"good", name: b"bad"})
    with pytest.raises(InputError, match=re.escape(f"{archive}: refused: its member ")) as caught:
        unpack_archives(folder)
    assert name.replace("\\", "/") in str(caught.value).replace("\\\\", "/").replace("\\", "/")
    assert tree(tmp_path) == {f"deep/data/evil.{kind}": archive.read_bytes()}
    assert os.listdir(folder) == [archive.name]


@pytest.mark.parametrize("kind", ["rar", "zip", "tar"])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret", "down/../../../x", "hop"])
def test_a_link_that_leads_out_is_refused_by_name(tmp_path, kind, target):
    """Also one that leads out by way of another (hop)."""
    folder = tmp_path / "data"
    folder.mkdir()
    links = {"film/link.avi": target} | ({"film/hop": "../.."} if target == "hop" else {})
    archive = WRITERS[kind](folder / f"evil.{kind}", {"film/down/a.avi": b"a"}, links)
    with pytest.raises(InputError, match=r"refused: its link 'film/(link.avi|hop)' leads out, to "):
        unpack_archives(folder)
    assert os.listdir(folder) == [archive.name]


def test_nothing_is_written_through_a_link(tmp_path):
    """A link to a folder outside, and a member below the link."""
    folder, outside = tmp_path / "data", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    with tarfile.open(folder / "evil.tar", "w") as file:
        link = tarfile.TarInfo("film")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        file.addfile(link)
        member = tarfile.TarInfo("film/x.avi")
        member.size = 3
        file.addfile(member, io.BytesIO(b"bad"))
    with pytest.raises(InputError, match=r"evil\.tar: refused: its link 'film' is also the name of another"):
        unpack_archives(folder)
    assert os.listdir(outside) == [] and os.listdir(folder) == ["evil.tar"]


def test_links_that_stay_inside_are_kept(tmp_path):
    members, links = {"film/a.avi": b"a"}, {"film/same.avi": "a.avi", "other/up.avi": "../film/a.avi"}
    write_tar(tmp_path / "clips.tar", members, links, hard_links={"film/hard.avi": "film/a.avi"})
    unpack_archives(tmp_path)
    names = ("film/a.avi", "film/same.avi", "film/hard.avi", "other/up.avi")
    assert tree(tmp_path / "clips") == dict.fromkeys(names, b"a")


@pytest.mark.parametrize("target", ["../../etc/passwd", "/etc/passwd"])
def test_a_hard_link_to_elsewhere(tmp_path, target):
    write_tar(tmp_path / "evil.tar", {"a": b"a"}, hard_links={"b": target})
    with pytest.raises(InputError, match="would lie outside of"):
        unpack_archives(tmp_path)


def test_a_pipe_or_device(tmp_path):
    write_tar(tmp_path / "evil.tar", {"a": b"a"}, others=[("pipe", tarfile.FIFOTYPE)])
    with pytest.raises(InputError, match="'pipe' is neither file nor folder nor link"):
        unpack_archives(tmp_path)


def test_a_list_of_files_elsewhere_is_no_archive(tmp_path):
    """libarchive would read mtree, whose members may be any file on this machine."""
    (tmp_path / "clips.tar").write_text("#mtree\n./passwd type=file contents=/etc/passwd\n")
    with pytest.raises(InputError, match=r"Unrecognized archive format|7z+ says"):
        unpack_archives(tmp_path)
    assert os.listdir(tmp_path) == ["clips.tar"]


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "rar"])
def test_a_damaged_archive_leaves_nothing(tmp_path, kind):
    noise = {"film/a.avi": os.urandom(50_000), "film/b.avi": os.urandom(50_000)}
    archive = WRITERS[kind](tmp_path / f"clips.{kind}", noise)
    archive.write_bytes(archive.read_bytes()[:60_000])
    with pytest.raises(InputError, match=re.escape(f"{archive}: ")) as caught:
        unpack_archives(tmp_path)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == [archive.name]


def test_an_empty_file_and_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "clips.zip").touch()
    with pytest.raises(InputError, match=r"clips\.zip: is empty"):
        unpack_archives(tmp_path)
    write_zip(tmp_path / "clips.zip", {"a" * 300: b"a"})
    with pytest.raises(InputError, match="cannot be unpacked beside itself: File name too long"):
        unpack_archives(tmp_path)


@pytest.mark.slow
def test_killed_in_the_middle_goes_on(tmp_path):
    """The first archive is done, the second one half: only the second is unpacked again."""
    write_zip(tmp_path / "a.zip", CONTENT)
    write_tar(tmp_path / "b.tar", {f"film/{index}.avi": bytes(200_000) for index in range(400)})
    code = f"from data_prep.downloads.archives import unpack_archives; unpack_archives({str(tmp_path)!r})"
    repository = Path(__file__).resolve().parents[3]
    process = subprocess.Popen([sys.executable, "-c", code], cwd=repository, stdout=subprocess.DEVNULL)
    staging = tmp_path / ".b.tar.unpacking" / "film"
    while process.poll() is None and not (staging.is_dir() and len(os.listdir(staging)) > 20):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / "a").is_dir() and not (tmp_path / "b").exists() and staging.is_dir()
    first = (tmp_path / "a").stat().st_mtime_ns
    assert unpack_archives(tmp_path) == [tmp_path / "b"]
    assert len(os.listdir(tmp_path / "b" / "film")) == 400
    assert (tmp_path / "a").stat().st_mtime_ns == first
    assert sorted(os.listdir(tmp_path)) == ["a", "a.zip", "b", "b.tar"]


def test_without_libarchive_or_tools_the_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "libarchive", None)  # importing it fails
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    write_rar(tmp_path / "clips.rar", CONTENT)
    with pytest.raises(
        InputError,
        match=r"libarchive13.*is not installed\); install `unrar`.*7zip-rar; on Debian in non-free\) and try again",
    ):
        unpack_archives(tmp_path)
    assert os.listdir(tmp_path) == ["clips.rar"]


STAND_IN = """#!{python}
import os, sys, zipfile
path, command = sys.argv[-1], sys.argv[1]
if command == "l":
    for info in zipfile.ZipFile(path).infolist():
        link = (info.external_attr >> 16) & 0o170000 == 0o120000
        print(f"Path = {{info.filename}}\\nFolder = -\\nAttributes =  {{'lrwxrwxrwx' if link else '-rw-r--r--'}}\\n")
else:
    target = [argument for argument in sys.argv if argument.startswith("-o")][0][2:]
    open({log!r}, "a").write("x")
    zipfile.ZipFile(path).extractall(target)
"""


def test_a_tool_is_used_where_libarchive_fails(tmp_path, monkeypatch):
    """The tool is a stand-in for 7z that speaks as 7z does; where 7z is installed, the next test has the real one."""
    tools, folder = tmp_path / "tools", tmp_path / "data"
    tools.mkdir()
    folder.mkdir()
    (tools / "7z").write_text(STAND_IN.format(python=sys.executable, log=str(tmp_path / "log")))
    (tools / "7z").chmod(0o755)
    monkeypatch.setitem(sys.modules, "libarchive", None)
    monkeypatch.setenv("PATH", str(tools))
    write_zip(folder / "clips.zip", CONTENT)
    unpack_archives(folder)
    assert tree(folder / "clips") == CONTENT
    (tmp_path / "log").unlink()
    for name, members, links, message in (
        ("up", {"../../x": b"x"}, {}, "its member '../../x' would lie outside"),
        ("link", {"a": b"a"}, {"l": "/etc"}, "its member 'l' is a link"),
    ):
        write_zip(folder / f"{name}.zip", members, links)
        with pytest.raises(InputError, match=message):
            unpack_archives(folder)
        (folder / f"{name}.zip").unlink()
    assert not (tmp_path / "log").exists()  # refused before anything was written


UNRAR = """#!{python}
import sys, libarchive
command, path = sys.argv[1], [argument for argument in sys.argv if argument.endswith(".rar")][0]
with libarchive.file_reader(path) as members:
    for member in members:
        if command == "lt":
            kind = "Unix symbolic link" if member.issym else "File"
            print(f"        Name: {{member.pathname}}\\n        Type: {{kind}}\\n        Size: {{member.size}}\\n")
        else:
            open(sys.argv[-1] + member.pathname, "wb").write(b"".join(member.get_blocks()))
"""


def test_unrar_is_used_for_rar(tmp_path, monkeypatch):
    """Also a stand-in; there is no free unrar."""
    tools, folder = tmp_path / "tools", tmp_path / "data"
    tools.mkdir()
    folder.mkdir()
    (tools / "unrar").write_text(UNRAR.format(python=sys.executable))
    (tools / "unrar").chmod(0o755)
    monkeypatch.setitem(sys.modules, "libarchive", None)
    monkeypatch.setenv("PATH", str(tools))
    write_rar(folder / "clips.rar", {"a #1.avi": b"a", "b.avi": b"b"})
    unpack_archives(folder)
    assert tree(folder / "clips") == {"a #1.avi": b"a", "b.avi": b"b"}
    write_rar(folder / "up.rar", {"../x": b"x"})
    with pytest.raises(InputError, match=r"its member '../x' would lie outside"):
        unpack_archives(folder)
    write_rar(folder / "up.rar", {"a": b"a"}, {"l": "/etc"})
    with pytest.raises(InputError, match="its member 'l' is a link"):
        unpack_archives(folder)


@pytest.fixture
def seven_zip(monkeypatch):
    if not any(shutil.which(name) for name in ("7z", "7zz", "7za")):
        pytest.skip("needs 7z, 7zz or 7za on the PATH")
    monkeypatch.setitem(sys.modules, "libarchive", None)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_real_7z(tmp_path, seven_zip, kind):
    WRITERS[kind](tmp_path / f"clips.{kind}", CONTENT)
    unpack_archives(tmp_path)
    assert tree(tmp_path / "clips") == CONTENT
    for name, members, links, message in (
        ("up", {"../../x": b"x"}, {}, "would lie outside"),
        ("link", {"a": b"a"}, {"l": "/etc"}, "its member 'l' is a link"),
    ):
        archive = WRITERS[kind](tmp_path / f"{name}.{kind}", members, links)
        with pytest.raises(InputError, match=message):
            unpack_archives(tmp_path)
        archive.unlink()
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04" + os.urandom(500))
    with pytest.raises(InputError, match=r"bad.zip: cannot be unpacked .7z\w* says: "):
        unpack_archives(tmp_path)


def pack(folder, archive, writer=write_zip):
    writer(
        archive,
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()},
    )


def test_hmdb51_packed_as_it_comes(miniature, tmp_path):
    """A rar of 51 rars of clips, and a rar of lists; some classes were unpacked before."""
    source, data_dir = miniature("hmdb51"), tmp_path / "data"
    (tmp_path / "rars").mkdir()
    data_dir.mkdir()
    for folder in sorted((source / "hmdb51_org").iterdir()):
        members = {f"{folder.name}/{path.name}": path.read_bytes() for path in folder.iterdir()}
        write_rar(tmp_path / "rars" / f"{folder.name}.rar", members)
    pack(tmp_path / "rars", data_dir / "hmdb51_org.rar", write_rar)
    pack(source / "testTrainMulti_7030_splits", data_dir / "test_train_splits.rar", write_rar)
    packed = list_clips("hmdb51", data_dir, allow_missing=True)
    plain = list_clips("hmdb51", source, allow_missing=True)
    assert [clip.path for clip in packed.clips] == [clip.path for clip in plain.clips]
    assert packed.split_id.split("-")[:3] == plain.split_id.split("-")[:3]


def test_a_whole_data_set_leaves_other_archives_alone(make_ucf11, tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.datasets.ucf11._CLIPS", (("biking", "biking", "1"),))
    monkeypatch.setattr("data_prep.datasets.ucf11.require_counts", lambda *arguments: None)
    make = tmp_path / "UCF11_updated_mpg/biking/v_biking_01"
    make.mkdir(parents=True)
    (make / "v_biking_01_01.mpg").write_bytes(b"clip")
    write_zip(tmp_path / "backup.zip", CONTENT)
    assert len(list_clips("ucf11", tmp_path).clips) == 1
    assert not (tmp_path / "backup").exists()


def test_a_folder_data_set_in_one_archive(data_dir, tmp_path):
    pack(data_dir, tmp_path / "my_clips.zip")
    found = list_clips("folder", tmp_path)
    assert found.data_dir == str(tmp_path / "my_clips") and len(found.clips) == 8
    assert list_clips("folder", tmp_path) == found  # the second time nothing is unpacked


def test_a_folder_data_set_in_an_archive_per_class(tiny_clip, tmp_path):
    for label in ("run", "wave"):
        for index in range(2):
            tiny_clip(tmp_path / "clips" / label / f"{index}.avi", index)
    (tmp_path / "data").mkdir()
    for label in ("run", "wave"):
        pack(tmp_path / "clips" / label, tmp_path / "data" / f"{label}.zip")
    found = list_clips("folder", tmp_path / "data")
    assert [(clip.path, clip.labels) for clip in found.clips] == [
        ("run/0.avi", ("run",)),
        ("run/1.avi", ("run",)),
        ("wave/0.avi", ("wave",)),
        ("wave/1.avi", ("wave",)),
    ]


def test_later_volumes_are_no_archives_of_their_own():
    names = ["a.part1.rar", "a.part01.rar", "a.part2.rar", "a.part10.rar", "a.part11.rar", "a.rar"]
    later = [name for name in names if archives._LATER_VOLUME.fullmatch(name)]
    assert later == ["a.part2.rar", "a.part10.rar", "a.part11.rar"]


@pytest.mark.parametrize("inner", ["a/evil", "a/new/dir/evil", "A/evil"])
@pytest.mark.parametrize("leads_to", ["../victim", "film"])
def test_a_link_is_not_written_through_another(tmp_path, inner, leads_to):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "victim").mkdir()
    write_tar(folder / "x.tar", CONTENT, {"a": leads_to, inner: "x"})
    with pytest.raises(InputError, match=r"x.tar: refused: its link '(a' leads out|[aA]/.*evil' lies at or below)"):
        unpack_archives(folder)
    assert list((folder / "victim").iterdir()) == []
    assert sorted(os.listdir(folder)) == ["victim", "x.tar"]


def test_names_that_give_no_folder_or_the_same_one(tmp_path):
    for name in (".zip", "..zip", "...zip"):
        write_zip(tmp_path / name, CONTENT)
    assert unpack_archives(tmp_path) == []
    write_zip(tmp_path / "x.zip", CONTENT)
    write_tar(tmp_path / "x.tar", CONTENT)
    with pytest.raises(InputError, match=r"would be unpacked to .*x, as x\.(zip|tar) is; rename or remove one"):
        unpack_archives(tmp_path)
    assert not (tmp_path / "x").exists()


def test_a_file_whose_name_is_not_utf8_keeps_no_archive_packed(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.txt")).touch()
    write_zip(tmp_path / "a.zip", CONTENT)
    assert unpack_archives(tmp_path) == [tmp_path / "a"]
