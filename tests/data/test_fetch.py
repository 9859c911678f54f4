"""Every test has its own mirrors on the loopback interface, its own cache and real files."""

import contextlib
import gzip
import hashlib
import http.server
import json
import logging
import os
import shutil
import socket
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE, pseudo_terminal, read_terminal
from vaex.data import fetch
from vaex.data.sources import File, Source
from vaex.errors import FetchError

CONTENT = {name: (name.encode() + bytes(range(256))) * 400 for name in ("one", "two", "three", "four")}
FILES = tuple(File(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in CONTENT.items())
PACKED = {f"/{name}.gz": gzip.compress(content) for name, content in CONTENT.items()}

ENDLESS = b"a reply that goes on and on"


def contents(source: Source) -> dict[str, bytes]:
    """The payloads, those that are mapped files copied."""
    return {name: bytes(payload) for name, payload in fetch.payloads(source).items()}


class Mirror(http.server.ThreadingHTTPServer):
    """Serves the files it is given, and remembers what it was asked for."""

    def __init__(self, replies: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies = replies
        self.asked: list[str] = []
        self.sent = 0
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path not in self.server.replies:
            self.send_error(404)
            return
        self.send_response(200)
        if self.server.replies[self.path] is ENDLESS:
            self.end_headers()
            self._send_without_end()
            return
        self.send_header("Content-Length", str(len(self.server.replies[self.path])))
        self.end_headers()
        self.wfile.write(self.server.replies[self.path])

    def _send_without_end(self) -> None:
        with contextlib.suppress(ConnectionError):
            while self.server.sent < 100_000_000:
                self.server.sent += self.wfile.write(bytes(65536))

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[dict[str, bytes]], Mirror]]:
    monkeypatch.setenv("VAEX_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers: list[Mirror] = []

    def start(replies: dict[str, bytes]) -> Mirror:
        servers.append(Mirror(replies))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,)).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def source(*mirrors: str, **more: object) -> Source:
    return Source("toy", FILES, mirrors, **more)


@pytest.fixture
def closed_port() -> Iterator[str]:
    """A port at which nobody listens, and which nobody else can take meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def cached(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (tmp_path / "cache" / "toy").iterdir()}


def test_files_come_from_the_mirror_once_and_from_the_cache_ever_after(mirror, tmp_path: Path):
    server = mirror(PACKED)
    assert contents(source(server.url)) == CONTENT
    assert cached(tmp_path) == CONTENT  # and no temporary file
    assert contents(source(server.url)) == CONTENT
    assert sorted(server.asked) == sorted(PACKED)


def test_the_cache_can_be_shared_with_other_users(mirror, tmp_path: Path):
    fetch.payloads(source(mirror(PACKED).url))
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "cache" / "toy" / "one").stat().st_mode) == 0o666 & ~umask


def test_the_default_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("VAEX_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fetch.cache(source()) == tmp_path / "vaex" / "datasets" / "toy"


def test_a_mirror_that_fails_once_is_not_asked_again(mirror):
    broken, good = mirror({"/one.gz": PACKED["/one.gz"]}), mirror(PACKED)
    assert contents(source(broken.url, good.url)) == CONTENT
    assert broken.asked == ["/one.gz", "/two.gz"]
    assert good.asked == ["/two.gz", "/three.gz", "/four.gz"]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (PACKED["/one.gz"][:-20], "truncated or damaged gzip file"),
        (gzip.compress(CONTENT["one"][:-1]), "SHA-256 is not the published one"),
        (gzip.compress(CONTENT["one"] + b"x"), "more than the expected"),
        (gzip.compress(bytes(50_000_000)), "more than the expected"),
        (os.urandom(1_000_000), "larger than"),
        (b"<html>please log in</html>", "truncated or damaged gzip file"),
        (b"", "SHA-256 is not the published one"),
    ],
    ids=["truncated", "other", "longer", "bomb", "larger", "html", "empty"],
)
def test_wrong_content_is_never_kept(mirror, tmp_path: Path, reply: bytes, reason: str):
    server = mirror({"/one.gz": reply})
    with pytest.raises(FetchError) as caught:
        fetch.payloads(source(server.url))
    assert reason in str(caught.value)
    assert not list(tmp_path.glob("cache/toy/*"))


def test_when_all_fail_one_line_lists_what_was_tried(mirror, closed_port: str, tmp_path: Path):
    empty = mirror({})
    with pytest.raises(FetchError) as caught:
        fetch.payloads(source(closed_port, empty.url, folder=tmp_path / "nowhere"))
    assert str(caught.value) == (
        "toy: no source has one, two, three, four; "
        f"tried {tmp_path / 'nowhere'}: No such file or directory; {closed_port}: Connection refused; "
        f"{empty.url}: HTTP Error 404: Not Found; dataset=digits needs no network"
    )
    assert caught.value.exit_code == 3


def test_a_mirror_that_never_answers_costs_seconds(mirror, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("vaex.data.sources.TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(FetchError, match=f"{url}: timed out"):
            fetch.payloads(source(url))


def test_a_reply_without_end_is_left(mirror):
    server = mirror({"/one.gz": ENDLESS})
    with pytest.raises(FetchError, match=r"one\.gz: larger than"):
        fetch.payloads(source(server.url))
    assert server.sent < 50_000_000  # what we took, and what the sockets had buffered


def test_an_installed_package_comes_first(mirror, tmp_path: Path):
    for name, content in CONTENT.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    server = mirror(PACKED)
    assert contents(source(server.url, folder=tmp_path)) == CONTENT
    assert server.asked == []


def test_a_damaged_file_is_fetched_again_after_one_warning(mirror, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    server = mirror(PACKED)
    fetch.payloads(source(server.url))
    damaged = tmp_path / "cache" / "toy" / "two"
    damaged.write_bytes(CONTENT["two"][:-1] + b"?")
    with caplog.at_level(logging.WARNING):
        assert contents(source(server.url)) == CONTENT
    assert [str(damaged) in record.getMessage() for record in caplog.records] == [True]
    assert server.asked.count("/two.gz") == 2
    assert len(server.asked) == 5
    assert cached(tmp_path) == CONTENT


def test_a_damaged_file_is_not_used_when_nothing_replaces_it(mirror, closed_port: str, tmp_path: Path):
    fetch.payloads(source(mirror(PACKED).url))
    (tmp_path / "cache" / "toy" / "two").write_bytes(b"?")
    assert [fetch.state(source(), file) for file in FILES] == ["here", "damaged", "here", "here"]
    with pytest.raises(FetchError, match="toy: no source has two; tried "):
        fetch.payloads(source(closed_port))


def test_a_cache_that_cannot_be_used_is_named(mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("VAEX_DATA", str(tmp_path / "file"))
    with pytest.raises(FetchError, match=r"file/toy/one: cannot be read: Not a directory; set VAEX_DATA"):
        fetch.payloads(source(mirror(PACKED).url))
    monkeypatch.setenv("VAEX_DATA", "/proc/no/such")
    with pytest.raises(FetchError, match=r"cannot be written: .*; set VAEX_DATA"):
        fetch.payloads(source(mirror(PACKED).url))


PROGRAM = textwrap.dedent("""
    import json, sys
    from vaex.data import fetch
    from vaex.data.sources import File, Source
    files, url = json.loads(sys.argv[1])
    print(len(fetch.payloads(Source("toy", tuple(File(*file) for file in files), (url,)))))
""")


def program(url: str, **options: object) -> subprocess.Popen:
    files = [(file.name, file.size, file.sha256) for file in FILES]
    return subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps([files, url])], text=True, **options)


def test_two_processes_at_once_do_not_hurt_each_other(mirror, tmp_path: Path):
    server = mirror(PACKED)
    processes = [program(server.url, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate(timeout=PATIENCE) for process in processes] == [("4\n", "")] * 3  # no bar in a pipe
    assert cached(tmp_path) == CONTENT


def test_a_terminal_sees_a_progress_bar(mirror, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm")
    with (
        pseudo_terminal() as (ours, theirs),
        program(mirror(PACKED).url, stdout=subprocess.PIPE, stderr=theirs) as process,
    ):
        shown = read_terminal(ours, process)
        assert process.communicate()[0] == "4\n"
    assert b"four" in shown
    assert "━".encode() in shown


@pytest.mark.skipif(not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="not a Debian")
def test_a_debian_package_is_downloaded_and_unpacked_without_its_lists(
    mirror, closed_port: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    folder = Path("/usr/share/datasets/vaex-no-such-toy")
    _make_repository(tmp_path, folder)
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    found = fetch.payloads(source(closed_port, package="dataset-toy", folder=folder))
    assert found == CONTENT == cached(tmp_path)
    with pytest.raises(FetchError, match="apt-get download dataset-none: apt-get: E: Unable to locate package"):
        fetch.payloads(Source("other", FILES, (), package="dataset-none", folder=folder))


def _make_repository(root: Path, folder: Path) -> None:
    """A signed-by-nobody repository of one package, and a configuration of apt that knows only it."""
    build, repository = root / "build", root / "repository"
    content = build / folder.relative_to("/")
    for directory in (build / "DEBIAN", content, repository, root / "lists" / "partial"):
        directory.mkdir(parents=True)
    control = (
        "Package: dataset-toy\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <n@example.org>\nDescription: toy\n"
    )
    (build / "DEBIAN" / "control").write_text(control)
    for path, packed in PACKED.items():
        (content / path[1:]).write_bytes(packed)
    archive = repository / "dataset-toy_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", build, archive], check=True, capture_output=True)
    digest, size = hashlib.sha256(archive.read_bytes()).hexdigest(), archive.stat().st_size
    index = f"{control}Filename: ./{archive.name}\nSize: {size}\nSHA256: {digest}\n"
    (repository / "Packages").write_text(index)
    (root / "sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n")
    (root / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{root}/sources.list";\nDir::Etc::sourceparts "-";\n'
        f'Dir::State::lists "{root}/lists";\nAPT::Sandbox::User "root";\n'
    )
