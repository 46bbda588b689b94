"""Downloads that survive interruptions: received bytes are kept, and the next attempt requests the rest.

ucf.rar              appears when it is complete and its published checksum, if any, is right
.ucf.rar.part        the bytes received so far
.ucf.rar.part.json   where from, and which version of it, so that two versions are never joined
"""

import contextlib
import hashlib
import http.client
import json
import math
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from attention_ar.errors import InputError, one_line
from data_prep.common.one_at_a_time import one_at_a_time

_TIMEOUT = 30.0  # seconds without a byte
_IDLE_ATTEMPTS = 3  # in a row that bring nothing, before a source is given up
_PAUSE = 1.0  # seconds before resuming after an interruption, doubled with each attempt without progress
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Source:
    """A server's copy of a file, and how to check it.

    Attributes:
      url: http, https or ftp.
      num_bytes: its size; None where it is not published.
      sha256: in hexadecimal digits; "" where it is not published.
      md5: likewise, for makers who publish only this.
    """

    url: str
    num_bytes: int | None = None
    sha256: str = ""
    md5: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


def fetch(target: Path, sources: Sequence[Source], seconds: float = math.inf) -> None:
    """Downloads a file from the first source that gives it whole.

    Interrupted, it resumes: at once, and when it is called again. `target` appears complete or not at all. Received
    bytes are kept only if the server can resume and the file can be told from another version.

    Args:
      target: where it is to be; its folder is made.
      sources: of the same file, tried one after the other.
      seconds: time limit for all of it. Looking up a server's name may take longer: that cannot be interrupted.

    Raises:
      InputError: no source had the file; the line gives each reason.
    """
    failures = []
    give_up = time.monotonic() + seconds
    for source in sources:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            return _Transfer(target, source, give_up).run()
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{source.url}: {one_line(error)}")
    raise InputError("; ".join(failures))


class _Unusable(OSError):
    """This source does not have the file; trying again does not help."""


class _Transfer:
    def __init__(self, target: Path, source: Source, give_up: float):
        self._target, self._source, self._give_up = target, source, give_up
        self._part = target.with_name(f".{target.name}.part")
        self._state = target.with_name(f".{target.name}.part.json")

    def run(self):
        try:
            lock = one_at_a_time(self._target.with_name(f".{self._target.name}.lock"), "download")
            with lock, open(self._part, "ab") as file:
                self._run(file)
        except InputError as error:
            raise _Unusable(str(error)) from None

    def _run(self, file):
        try:
            self._complete(file)
            self._check()
        except BaseException:
            if not self._read_state():  # the response could not be read
                self._forget()
            raise
        os.replace(self._part, self._target)
        self._state.unlink(missing_ok=True)

    def _complete(self, file):
        idle = 0
        while True:
            before = self._size()
            try:
                return self._attempt(file)
            except _Unusable:
                raise
            except (OSError, http.client.HTTPException):
                resumable = bool(self._read_state())
                idle = 0 if resumable and self._size() > before else idle + 1
                pause = _PAUSE * 2**idle
                if not resumable or idle == _IDLE_ATTEMPTS or self._time_left() < pause:
                    raise
            time.sleep(pause)

    def _time_left(self) -> float:
        """Returns seconds, or raises where none are left."""
        left = self._give_up - time.monotonic()
        if left <= 0:
            raise _Unusable("takes too long")
        return left

    def _attempt(self, file):
        """Requests the missing bytes and appends them; returns when all have arrived."""
        offset = self._size() if self._may_go_on() else 0
        request = urllib.request.Request(self._source.url)
        if offset:
            request.add_header("Range", f"bytes={offset}-")
            state = self._read_state()
            if state["url"] == self._source.url and state["version"]:
                request.add_header("If-Range", state["version"])
        try:
            response = urllib.request.urlopen(request, timeout=min(_TIMEOUT, self._time_left()))
        except urllib.error.HTTPError as error:
            if error.code == 416 and offset:  # nothing is left to send: it is complete, or another version by now
                if self._source.num_bytes in (None, offset) and (self._source.sha256 or self._source.md5):
                    return
                self._forget_contents(file)
                raise OSError("the server has another version of it by now") from None
            raise (OSError if error.code >= 500 or error.code == 429 else _Unusable)(str(error)) from None
        with response:
            if response.status != 206:
                offset = 0
            self._receive(response, file, offset)

    def _receive(self, response, file, offset: int):
        if offset == 0:
            self._forget_contents(file)
        elif not str(response.headers.get("Content-Range", "")).startswith(f"bytes {offset}-"):
            self._forget_contents(file)
            raise OSError("the server ignored the requested byte range")
        length = response.headers.get("Content-Length")
        total = offset + int(length) if length and length.isdigit() else self._source.num_bytes
        if self._source.num_bytes and total != self._source.num_bytes:
            self._forget_contents(file)
            raise _Unusable(f"has {total} bytes instead of {self._source.num_bytes}")
        if total and total - offset > shutil.disk_usage(self._target.parent).free:
            raise _Unusable(f"the rest needs {(total - offset) / 1e9:.1f} GB, more than {self._target.parent} has free")
        self._note(response)
        received = offset
        bar = tqdm(total=total, initial=offset, unit="B", unit_scale=True, desc=self._target.name, disable=None)
        with bar:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                file.flush()
                received += len(chunk)
                self._time_left()
                bar.update(len(chunk))
                if total and received > total:
                    raise _Unusable(f"sent more than {total} bytes")
        if total and received != total:
            raise OSError(f"ended after {received} of {total} bytes")

    def _note(self, response):
        """Notes the source of the received bytes, if the server can resume there."""
        headers = response.headers
        etag = headers.get("ETag", "")
        version = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
        ranges = response.status == 206 or headers.get("Accept-Ranges", "") == "bytes"
        if ranges and (version or self._checksum()):
            state = {"url": self._source.url, "version": version, "checksum": self._checksum()}
            self._state.write_text(json.dumps(state), encoding="utf-8")
        else:
            self._state.unlink(missing_ok=True)

    def _may_go_on(self) -> bool:
        state = self._read_state()
        same_file = state.get("checksum") and state["checksum"] == self._checksum()
        return bool(state) and bool(same_file or (state.get("url") == self._source.url and state.get("version")))

    def _read_state(self) -> dict:
        try:
            state = json.loads(self._state.read_text(encoding="utf-8"))
            return state if isinstance(state, dict) and state.keys() == {"url", "version", "checksum"} else {}
        except (OSError, ValueError):
            return {}

    def _checksum(self) -> str:
        return self._source.sha256 or self._source.md5

    def _size(self) -> int:
        return self._part.stat().st_size

    def _check(self):
        """Raises unless the received bytes are the file."""
        size = self._size()
        kind = "sha256" if self._source.sha256 else "md5"
        expected = self._checksum()
        if expected:
            with open(self._part, "rb") as file:
                found = hashlib.file_digest(file, kind).hexdigest()
            if found != expected:
                self._forget()
                raise _Unusable(f"came broken: {size} bytes, with another {kind} than {expected}")
        elif size == 0:
            self._forget()
            raise _Unusable("is empty")

    def _forget_contents(self, file):
        file.truncate(0)
        self._state.unlink(missing_ok=True)

    def _forget(self):
        for path in (self._part, self._state):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
