"""Archives, unpacked where they lie: zip, rar, 7z and tar, also rar inside rar; nothing is ever written elsewhere.

`hmdb51_org.rar` becomes the folder `hmdb51_org` beside it, which appears when it is whole; an archive that has its
folder is done. Killed, the next call resumes with the archives that have none. Archives are never deleted.

Archives are untrusted. Its members are written one by one into a new folder, links last, so that
nothing is written through one; a member that would lie outside and a link that leads there are refused by name.
"""

import os
import re
import shutil
import stat
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from attention_ar.errors import InputError
from data_prep.common.folders import walk
from data_prep.common.one_at_a_time import one_at_a_time
from data_prep.downloads.archive_tools import unpack_with_tool

_MOST_NESTED = 3
_NAME = re.compile(r"(?P<stem>.+?)\.(zip|rar|7z|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz|zst))", re.IGNORECASE)
_LATER_VOLUME = re.compile(r".*\.part0*([2-9]|1\d)\d*\.rar", re.IGNORECASE)  # the first one names the others

# How a file begins, and libarchive's format and filter for it. Not its `all`, which includes formats that name files
# on this machine and filters that start other programs.
_MAGIC = (
    (b"PK\x03\x04", "zip", "none"),
    (b"PK\x05\x06", "zip", "none"),
    (b"Rar!\x1a\x07\x00", "rar", "none"),
    (b"Rar!\x1a\x07\x01\x00", "rar5", "none"),
    (b"7z\xbc\xaf\x27\x1c", "7zip", "none"),
    (b"\x1f\x8b", "tar", "gzip"),
    (b"BZh", "tar", "bzip2"),
    (b"\xfd7zXZ\x00", "tar", "xz"),
    (b"\x28\xb5\x2f\xfd", "tar", "zstd"),
)
_LIBARCHIVE = "libarchive (apt-get install libarchive13, dnf install libarchive, brew install libarchive)"
_RAR_TOOLS = "`unrar` (package unrar) or `7z` (packages 7zip and 7zip-rar; on Debian in non-free)"


def unpack_archives(folder) -> list[Path]:
    """Unpacks every archive below a folder that is not unpacked yet, and the archives in those.

    Args:
      folder: where to look.

    Returns:
      The folders that were made.

    Raises:
      InputError: for an archive that is damaged, encrypted or hostile, one that nothing installed can read, and a
        folder that cannot be written.
    """
    made = []
    for _ in range(_MOST_NESTED):
        waiting = [(archive, target) for archive, target in _archives(folder) if not target.exists()]
        if not waiting:
            return made
        with one_at_a_time(Path(folder, ".unpacking"), "program that unpacks", wait=True):
            for archive, target in waiting:
                if not target.exists():  # another process may have been faster
                    _unpack(archive, target)
                    made.append(target)
    if deeper := [archive for archive, target in _archives(folder) if not target.exists()]:
        raise InputError(f"{deeper[0]}: lies {_MOST_NESTED} archives deep; unpack it by hand if it is needed")
    return made


def _archives(folder) -> list[tuple[Path, Path]]:
    """Returns the archives with the folders they are unpacked to."""
    found = []
    of_target = {}
    for path in walk(folder, check_names=False):
        match = _NAME.fullmatch(path.name)
        if match and match["stem"].strip(".") and not _LATER_VOLUME.fullmatch(path.name):  # ..zip names no folder
            archive = Path(folder, path)
            target = archive.with_name(match["stem"])
            if (other := of_target.setdefault(target, archive)) != archive:
                raise InputError(f"{archive}: would be unpacked to {target}, as {other.name} is; rename or remove one")
            found.append((archive, target))
    return found


def _unpack(archive: Path, target: Path):
    print(f"unpacking {archive}", flush=True)
    unfinished = archive.with_name(f".{archive.name}.unpacking")
    try:
        if unfinished.exists():  # a killed process left it
            shutil.rmtree(unfinished)
        unfinished.mkdir()
        _fill(archive, unfinished)
        _check_nothing_leads_out(archive, unfinished)
        os.rename(_without_doubled_folder(unfinished, target.name), target)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise InputError(f"{archive}: cannot be unpacked beside itself: {error.strerror}{where}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _without_doubled_folder(unfinished: Path, name: str) -> Path:
    """biking.rar with nothing but a folder biking becomes biking, and not biking/biking."""
    inside = list(unfinished.iterdir())
    alone = len(inside) == 1 and inside[0].name == name and inside[0].is_dir() and not inside[0].is_symlink()
    return inside[0] if alone else unfinished


def _fill(archive: Path, folder: Path):
    kind, filter_name = _kind(archive)
    try:
        import libarchive
    except (ImportError, OSError, AttributeError, TypeError):  # the last three: its library is not on this system
        reason = f"{_LIBARCHIVE} is not installed"
    else:
        try:
            return _fill_by_libarchive(libarchive, archive, folder, kind, filter_name)
        except InputError:
            raise
        except libarchive.ArchiveError as error:
            reason = f"libarchive says: {error.msg}".rstrip(".")
        except ValueError:  # of a format that is newer than it
            reason = f"this libarchive does not read {kind}"
    is_rar = kind in ("rar", "rar5")
    shutil.rmtree(folder)
    folder.mkdir()
    if not unpack_with_tool(archive, folder, is_rar, check_name=lambda name: _inside(archive, name)):
        other = _RAR_TOOLS if is_rar else "`7z` (package 7zip)"
        raise InputError(f"{archive}: cannot be unpacked ({reason}); install {other} and try again")


def _kind(archive: Path) -> tuple[str, str]:
    with open(archive, "rb") as file:
        head = file.read(8)
    if not head:
        raise InputError(f"{archive}: is empty; an archive was expected")
    for magic, kind, filter_name in _MAGIC:
        if head.startswith(magic):
            return kind, filter_name
    return "tar", "none"


def _fill_by_libarchive(libarchive, archive: Path, folder: Path, kind: str, filter_name: str):
    links = []
    bar = tqdm(total=archive.stat().st_size, unit="B", unit_scale=True, desc=archive.name, disable=None, leave=False)
    with bar, libarchive.file_reader(os.fspath(archive), kind, filter_name) as members:
        for member in members:
            name = member.pathname
            relative = _inside(archive, name)
            path = folder / relative
            if member.issym:
                links.append((path, member.linkpath))
            elif member.islnk:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.link(folder / _inside(archive, member.linkpath), path)
            elif member.isdir:
                path.mkdir(parents=True, exist_ok=True)
            elif member.isreg:
                path.parent.mkdir(parents=True, exist_ok=True)
                with open(path, "wb") as file:
                    for block in member.get_blocks(1 << 20):
                        file.write(block)
                if member.size is not None and path.stat().st_size != member.size:
                    raise InputError(f"{archive}: damaged: {name!r} has {path.stat().st_size} of {member.size} bytes")
            else:
                raise InputError(f"{archive}: refused: {name!r} is neither file nor folder nor link")
            bar.update(members.bytes_read - bar.n)
    _check_links(archive, folder, links)
    for path, leads_to in links:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.symlink(leads_to, path)
        except FileExistsError:
            name = os.path.relpath(path, folder)
            raise InputError(f"{archive}: refused: its link {name!r} is also the name of another member") from None


def _check_links(archive: Path, folder: Path, links: list[tuple[Path, str]]):
    """Refuses links before one is written: a later one must not be written through an earlier one."""
    folded = [PurePosixPath(os.path.relpath(path, folder).casefold()) for path, _ in links]
    of_links = set(folded)
    for index, (path, leads_to) in enumerate(links):
        name = os.path.relpath(path, folder)
        if any(parent in of_links for parent in folded[index].parents) or folded[index] in folded[:index]:
            raise InputError(f"{archive}: refused: its link {name!r} lies at or below another link")
        if not os.path.lexists(path):  # else it is refused as the name of another member
            end = os.path.normpath(os.path.join(os.path.dirname(name), leads_to))
            if os.path.isabs(leads_to) or end.split(os.sep)[0] == "..":
                raise _leads_out(archive, name, leads_to)


def _leads_out(archive: Path, name: str, leads_to: str) -> InputError:
    return InputError(
        f"{archive}: refused: its link {name!r} leads out, to {leads_to!r}; unpack it by hand if you trust it"
    )


def _inside(archive: Path, name: str | None) -> PurePosixPath:
    """Returns a member's path below the folder, or refuses it."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"{archive}: refused: it has a member {name!r} whose name cannot be read")
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or re.match(r"[A-Za-z]:", name):
        raise InputError(f"{archive}: refused: its member {name!r} would lie outside of {archive.parent}")
    return PurePosixPath(name)


def _check_nothing_leads_out(archive: Path, folder: Path):
    root = os.path.realpath(folder)
    for parent, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(parent, name)
            mode = os.lstat(path).st_mode
            member = os.path.relpath(path, root)
            if stat.S_ISLNK(mode):
                leads_to = os.path.realpath(path)
                if os.path.isabs(os.readlink(path)) or os.path.commonpath([root, leads_to]) != root:
                    raise _leads_out(archive, member, os.readlink(path))
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise InputError(f"{archive}: refused: {member!r} is neither file nor folder nor link")
