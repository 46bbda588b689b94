"""Downloads from a real server on loopback that breaks off, changes its files and knows or does not know ranges."""

import contextlib
import hashlib
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from attention_ar.errors import InputError
from data_prep.datasets.clip_list import Clip, Dataset, Download, NothingHere
from data_prep.datasets.downloading import download_dataset
from data_prep.datasets.official_lists import make_clip_list
from data_prep.downloads import fetch as fetch_module
from data_prep.downloads.fetch import Source, fetch

BODY = bytes(range(256)) * 1000
OTHER = BODY[::-1]
SHA256 = hashlib.sha256(BODY).hexdigest()
REPOSITORY = Path(__file__).resolve().parents[3]


class Server:
    """Serves one body at every address.

    Attributes:
      body, etag: what it serves, and under which version.
      ranges: whether it resumes in the middle.
      cuts: after how many bytes it breaks off each of the next answers.
      seconds_per_chunk: how slow it is.
      asked: (address, Range, first status) of every request.
      sent: bytes of bodies.
    """

    def __init__(self):
        self.body, self.etag, self.ranges, self.cuts, self.seconds_per_chunk = BODY, '"one"', True, [], 0.0
        self.asked, self.sent = [], 0

    def answer(self, handler):
        if handler.path.startswith("/absent"):
            self.asked.append((handler.path, None, 404))
            return handler.send_error(404)
        first, status = 0, 200
        wanted = handler.headers.get("Range")
        if wanted and self.ranges and handler.headers.get("If-Range") in (None, self.etag):
            first, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
            if first >= len(self.body):
                status = 416
        self.asked.append((handler.path, wanted, status))
        if status == 416:
            return handler.send_error(416)
        handler.send_response(status)
        rest = self.body[first:]
        handler.send_header("Content-Length", str(len(rest)))
        if self.ranges:
            handler.send_header("Accept-Ranges", "bytes")
        if status == 206:
            handler.send_header("Content-Range", f"bytes {first}-{len(self.body) - 1}/{len(self.body)}")
        if self.etag:
            handler.send_header("ETag", self.etag)
        handler.end_headers()
        rest = rest[: self.cuts.pop(0)] if self.cuts else rest
        for start in range(0, len(rest), 10_000):
            self.sent += len(rest[start : start + 10_000])  # Before the client can be done with it.
            handler.wfile.write(rest[start : start + 10_000])
            time.sleep(self.seconds_per_chunk)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch_module, "_PAUSE", 0.0)
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.answer(self)

        def log_message(self, *arguments):
            pass

        def handle(self):
            with contextlib.suppress(ConnectionError):
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{http.server_port}/clips.rar"
        yield state
        http.shutdown()


def ranges(server):
    return [wanted for _, wanted, _ in server.asked]


@pytest.mark.slow
def test_what_takes_too_long_is_given_up_and_goes_on_next_time(server, tmp_path):
    server.seconds_per_chunk = 0.1  # of 26 chunks
    target = tmp_path / "clips.rar"
    with pytest.raises(InputError, match=r"/clips.rar: takes too long; .*/clips.rar: takes too long$"):
        fetch(target, [Source(server.url, sha256=SHA256)] * 2, seconds=1.0)
    assert not target.exists() and len(server.asked) == 1
    server.seconds_per_chunk = 0.0
    fetch(target, [Source(server.url, sha256=SHA256)])
    assert target.read_bytes() == BODY and ranges(server)[1].startswith("bytes=")


@pytest.mark.parametrize("sha256", ["", SHA256])
def test_an_interrupted_transfer_goes_on_where_it_was(server, tmp_path, sha256):
    server.cuts = [100_000, 50_000]
    fetch(tmp_path / "new" / "clips.rar", [Source(server.url, sha256=sha256)])
    assert (tmp_path / "new" / "clips.rar").read_bytes() == BODY
    assert ranges(server) == [None, "bytes=100000-", "bytes=150000-"]
    assert server.sent == len(BODY)  # no byte twice
    assert os.listdir(tmp_path / "new") == ["clips.rar"]


@pytest.mark.slow
def test_a_killed_download_goes_on(server, tmp_path):
    server.seconds_per_chunk = 0.05
    target = tmp_path / "clips.rar"
    code = (
        "from pathlib import Path; from data_prep.downloads.fetch import *;"
        f"fetch(Path({str(target)!r}), [Source({server.url!r}, sha256={SHA256!r})])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)
    part = tmp_path / ".clips.rar.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size > 50_000):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = part.stat().st_size
    assert 50_000 < kept < len(BODY) and not target.exists()
    server.seconds_per_chunk = 0.0
    fetch(target, [Source(server.url, sha256=SHA256)])
    assert target.read_bytes() == BODY
    assert ranges(server) == [None, f"bytes={kept}-"]
    assert os.listdir(tmp_path) == ["clips.rar"]


def test_two_versions_are_never_joined(server, tmp_path):
    """Without a checksum: the server's version decides, and the file is fetched anew."""
    server.cuts = [100_000, 0, 0, 0]
    with pytest.raises(InputError, match=r"clips.rar: ended after 100000 of 256000 bytes"):
        fetch(tmp_path / "clips.rar", [Source(server.url)])
    assert (tmp_path / ".clips.rar.part").read_bytes() == BODY[:100_000]
    server.body, server.etag = OTHER, '"two"'
    fetch(tmp_path / "clips.rar", [Source(server.url)])
    assert (tmp_path / "clips.rar").read_bytes() == OTHER
    assert server.asked[-1][1:] == ("bytes=100000-", 200)


def test_without_checksum_and_version_nothing_is_kept(server, tmp_path):
    server.etag, server.cuts = "", [100_000]
    with pytest.raises(InputError, match="ended after 100000 of 256000 bytes"):
        fetch(tmp_path / "clips.rar", [Source(server.url)])
    assert os.listdir(tmp_path) == []


def test_a_server_that_cannot_go_on(server, tmp_path):
    server.ranges, server.cuts = False, [100_000]
    with pytest.raises(InputError, match="ended after 100000 of 256000 bytes"):
        fetch(tmp_path / "clips.rar", [Source(server.url, sha256=SHA256)])
    assert os.listdir(tmp_path) == []
    fetch(tmp_path / "clips.rar", [Source(server.url, sha256=SHA256)])
    assert ranges(server) == [None, None]


def test_another_mirror_goes_on_with_the_same_file(server, tmp_path):
    server.cuts = [100_000, 0, 0, 0]
    mirror = server.url.replace("clips.rar", "mirror/clips.rar")
    fetch(tmp_path / "clips.rar", [Source(server.url, sha256=SHA256), Source(mirror, sha256=SHA256)])
    assert (tmp_path / "clips.rar").read_bytes() == BODY
    assert server.asked[-1] == ("/mirror/clips.rar", "bytes=100000-", 206)
    assert server.sent == len(BODY)


def test_all_that_came_and_then_a_kill(server, tmp_path):
    """Every byte is there, and only the file's name was not given yet."""
    server.cuts = [256_000 - 1, 0, 0, 0]
    with pytest.raises(InputError):
        fetch(tmp_path / "clips.rar", [Source(server.url, sha256=SHA256)])
    with open(tmp_path / ".clips.rar.part", "ab") as file:
        file.write(BODY[-1:])
    fetch(tmp_path / "clips.rar", [Source(server.url, sha256=SHA256)])
    assert (tmp_path / "clips.rar").read_bytes() == BODY
    assert server.asked[-1][1:] == ("bytes=256000-", 416)


@pytest.mark.parametrize("checksum", [{"sha256": SHA256}, {"md5": hashlib.md5(BODY).hexdigest()}])
@pytest.mark.slow
def test_a_wrong_file_is_refused_and_removed(server, tmp_path, checksum):
    server.body = OTHER
    with pytest.raises(InputError, match=f"came broken: 256000 bytes, with another {next(iter(checksum))} than "):
        fetch(tmp_path / "clips.rar", [Source(server.url, **checksum)])
    assert os.listdir(tmp_path) == []
    server.body = BODY
    fetch(tmp_path / "clips.rar", [Source(server.url, **checksum)])


def test_a_wrong_size_is_noticed_at_once(server, tmp_path):
    with pytest.raises(InputError, match="has 256000 bytes instead of 5"):
        fetch(tmp_path / "clips.rar", [Source(server.url, num_bytes=5)])
    assert os.listdir(tmp_path) == [] and server.sent <= len(BODY)


@pytest.mark.slow
def test_two_at_a_time(server, tmp_path):
    server.seconds_per_chunk = 0.03
    errors = []

    def one():
        try:
            fetch(tmp_path / "clips.rar", [Source(server.url, sha256=SHA256)])
        except InputError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "clips.rar").read_bytes() == BODY
    assert len(errors) == 1 and f"{server.url}: {tmp_path}: another download is at work in it" in errors[0]


class FtpHandler(socketserver.StreamRequestHandler):
    """As much of FTP as one transfer needs; every second transfer breaks off in the middle."""

    transfers = 0

    def handle(self):
        answers = {"USER": "331 name", "PASS": "230 in", "TYPE": "200 binary", "CWD": "250 there", "QUIT": "221 bye"}
        self.wfile.write(b"220 ready\r\n")
        for line in self.rfile:
            command = line.decode().split()[0]
            if command == "PASV":
                listener = socket.create_server(("127.0.0.1", 0))
                high, low = divmod(listener.getsockname()[1], 256)
                answer = f"227 entering (127,0,0,1,{high},{low})"
            elif command == "RETR":
                self.wfile.write(f"150 {len(BODY)} bytes ({len(BODY)} bytes)\r\n".encode())
                with listener, listener.accept()[0] as connection:
                    connection.sendall(BODY[: 100_000 if FtpHandler.transfers % 2 == 0 else None])
                FtpHandler.transfers += 1
                answer = "226 sent"
            else:
                answer = answers.get(command, "502 unknown")
            self.wfile.write(f"{answer}\r\n".encode())


@pytest.mark.slow
def test_ftp_begins_anew(tmp_path, monkeypatch):
    """FTP is not asked to go on; what came broken is not kept, and the next call gets it whole."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch_module, "_PAUSE", 0.0)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), FtpHandler) as ftp:
        ftp.daemon_threads = True
        threading.Thread(target=ftp.serve_forever, daemon=True).start()
        source = Source(f"ftp://127.0.0.1:{ftp.server_address[1]}/data/clips.rar", md5=hashlib.md5(BODY).hexdigest())
        with pytest.raises(InputError, match="ended after 100000 of 256000 bytes"):
            fetch(tmp_path / "clips.rar", [source])
        assert os.listdir(tmp_path) == []
        fetch(tmp_path / "clips.rar", [source])
        ftp.shutdown()
    assert (tmp_path / "clips.rar").read_bytes() == BODY
    assert os.listdir(tmp_path) == ["clips.rar"]


def dataset(*downloads) -> Dataset:
    """A data set of the clips that lie in the folder `clips`."""

    def list_clips(folder, split, seed):
        if not (folder / "clips").is_dir():
            raise NothingHere("no clips")
        return make_clip_list("some", folder, [Clip("clips/a.avi", ("run",), "", "train")], split="only")

    return Dataset(list_clips, downloads=downloads)


def test_what_is_there_unpacked_is_not_downloaded(server, tmp_path, capsys):
    made = dataset(Download("the clips", (Source(server.url),), "by hand"))
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.avi").touch()
    assert download_dataset(made, tmp_path) == [] and server.asked == []
    assert capsys.readouterr().out == f"{tmp_path} holds every clip already\n"
    (tmp_path / "clips" / "a.avi").unlink()
    assert download_dataset(made, tmp_path) == [] and len(server.asked) == 1


def test_a_data_set_from_where_it_is_to_be_had(server, tmp_path, capsys):
    absent = server.url.replace("/clips.rar", "/absent/clips.zip")
    lists = server.url.replace("/clips.rar", "/lists.zip")
    made = dataset(
        Download("the clips", (Source(absent), Source(server.url, sha256=SHA256)), "ask a colleague for clips.rar"),
        Download("the lists", (Source(lists),), "ask for lists.zip"),
        Download("the labels", (), "the server is gone; ask for labels.txt"),
    )
    assert download_dataset(made, tmp_path) == ["the labels: the server is gone; ask for labels.txt"]
    assert sorted(os.listdir(tmp_path)) == ["clips.rar", "lists.zip"]
    printed = capsys.readouterr().out
    assert f"downloading {lists} (no checksum is published)\n" in printed and f"{server.url} (no" not in printed
    num_asked = len(server.asked)
    assert len(download_dataset(made, tmp_path)) == 1
    assert f"{tmp_path / 'clips.rar'} is there already" in capsys.readouterr().out
    assert len(server.asked) == num_asked


def test_what_no_server_gives(server, tmp_path, capsys):
    absent = server.url.replace("/clips.rar", "/absent/clips.zip")
    made = dataset(Download("the clips", (Source(absent),), "ask a colleague for clips.zip"))
    assert download_dataset(made, tmp_path / "new") == ["the clips: ask a colleague for clips.zip"]
    assert f"failed: {absent}: HTTP Error 404" in capsys.readouterr().out


@pytest.mark.slow
def test_program(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "data_prep.download", *arguments]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)

    gone = run("--dataset=hmdb51", f"--data_dir={tmp_path}")
    assert gone.returncode == 1 and gone.stderr.count("\n") == 1
    assert "error: hmdb51 is not complete: the clips: the server of HMDB-51 is gone; get hmdb51_org.rar" in gone.stderr
    assert "test_train_splits.rar" in gone.stderr and gone.stderr.endswith(f"put it into {tmp_path}\n")
    assert "nothing to download" in run(f"--data_dir={tmp_path}").stderr
