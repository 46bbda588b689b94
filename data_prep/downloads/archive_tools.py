"""Archives that libarchive cannot read, unpacked by an installed `unrar` or `7z`."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from attention_ar.errors import InputError

_SEVEN_ZIPS = ("7z", "7zz", "7za")
_FIELD = re.compile(r"\s*([A-Z][A-Za-z ]*?)(?: = |: )(.*)")


def unpack_with_tool(archive: Path, folder: Path, is_rar: bool, check_name: Callable[[str], object]) -> bool:
    """Unpacks an archive into an empty folder; the members' names are checked before anything is written.

    An archive with links is refused: whether these programs write through one depends on their version.

    Args:
      archive: the file.
      folder: where to.
      is_rar: whether unrar can be used too.
      check_name: raises for a name that must not be written.

    Returns:
      False if no such program is installed.

    Raises:
      InputError: the program does not read it either, or it is refused.
    """
    seven_zip = next(filter(None, map(shutil.which, _SEVEN_ZIPS)), None)
    unrar = shutil.which("unrar") if is_rar else None
    path, failures = str(archive.resolve()), []
    for tool, list_it, unpack_it in (
        (unrar, ["lt", "-p-", "-c-", "--", path], ["x", "-p-", "-y", "-idq", "--", path, f"{folder}/"]),
        (seven_zip, ["l", "-slt", "-ba", "-p", "--", path], ["x", "-y", "-bd", "-p", f"-o{folder}", "--", path]),
    ):
        if not tool:
            continue
        listed = _run(tool, *list_it)
        if listed.returncode == 0:
            _check_members(archive, listed.stdout, check_name)
            unpacked = _run(tool, *unpack_it)
            if unpacked.returncode == 0:
                return True
            failures.append(f"{Path(tool).name} says: {_last_line(unpacked)}")
        else:
            failures.append(f"{Path(tool).name} says: {_last_line(listed)}")
    if failures:
        raise InputError(f"{archive}: cannot be unpacked ({'; '.join(failures)})")
    return False


def _run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")


def _check_members(archive: Path, listing: str, check_name):
    """Reads `Path = x`, `Symbolic Link = y` … of 7-Zip, `Name: x`, `Type: y` … of unrar."""
    name = None
    for line in listing.splitlines():
        match = _FIELD.match(line)
        if not match:
            continue
        key, value = match[1], match[2].strip()
        if key in ("Path", "Name"):
            name = value
            check_name(name)
        elif value and _says_link(key, value):
            raise InputError(f"{archive}: refused: its member {name!r} is a link; unpack it by hand if you trust it")


def _says_link(key: str, value: str) -> bool:
    if key in ("Attributes", "Mode"):
        return bool(re.search(r"(^|\s)l[rwxsStT-]{9}", value))
    return key in ("Symbolic Link", "Hard Link", "Target") or (key == "Type" and "link" in value.lower())


def _last_line(run: subprocess.CompletedProcess) -> str:
    lines = [line.strip() for line in (run.stderr + "\n" + run.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or [f"status {run.returncode}"])[0]
