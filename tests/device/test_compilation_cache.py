"""The cache of compiled programs: where it is, that it changes no bit, and that damage to it is harmless and silent."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Finished, command
from tests.support.processes import ENDLESS, SMALL, epochs_on_disk, results, until
from vaex import files
from vaex.device import compilation_cache
from vaex.device.compilation_cache import ENTRY, SEAL, USED

RUN = (*SMALL, "training.epochs=2", "tracking.mode=disabled")


@pytest.fixture(autouse=True)
def _no_cache_of_jax(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without what conftest sets for all other tests; the user's cache directory is a temporary one."""
    for name in list(os.environ):
        if name.startswith(("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE", "VAEX_CACHE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


def run(folder: Path, **variables: str) -> Finished:
    folder.mkdir()
    done = command(folder, *RUN, **variables)
    assert (done.code, done.stderr) == (0, "")
    return done


def entries(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.glob(f"*/*{ENTRY}")}


def damage(cache: Path) -> None:
    """Each entry in another way."""

    def flip(entry: Path) -> None:
        content = bytearray(entry.read_bytes())
        content[len(content) // 2] ^= 1
        entry.write_bytes(content)

    def sealed_again(entry: Path) -> None:
        flip(entry)
        entry.with_name(entry.name.replace(ENTRY, SEAL)).write_text(files.sha256_of_file(entry))

    ways: list[Callable[[Path], object]] = [
        flip,
        sealed_again,
        lambda entry: entry.write_bytes(entry.read_bytes()[:100]),
        lambda entry: entry.write_bytes(b""),
        lambda entry: entry.with_name(entry.name.replace(ENTRY, USED)).unlink(),
        lambda entry: entry.with_name(entry.name.replace(ENTRY, SEAL)).write_bytes(b"\xff"),
    ]
    for number, entry in enumerate(sorted(cache.glob(f"*/*{ENTRY}"), key=lambda path: -path.stat().st_size)):
        ways[number % len(ways)](entry)


@pytest.mark.slow
def test_results_are_the_same_without_it_with_it_empty_full_and_damaged(tmp_path: Path):
    cache = tmp_path / "cache"
    without = run(tmp_path / "off", VAEX_CACHE="")
    assert not (tmp_path / "home" / "vaex").exists()
    cold = run(tmp_path / "cold", VAEX_CACHE=str(cache))
    kept = entries(cache)
    assert any("epoch" in name for name in kept)
    assert all((path.with_name(path.name.replace(ENTRY, SEAL))).exists() for path in cache.glob(f"*/*{ENTRY}"))
    warm = run(tmp_path / "warm", VAEX_CACHE=str(cache))
    assert entries(cache) == kept  # nothing was compiled again
    damage(cache)
    after = run(tmp_path / "after", VAEX_CACHE=str(cache))
    expected = results(without.directory)
    assert all(results(done.directory) == expected for done in (cold, warm, after))


def test_a_program_is_there_for_others_while_its_run_goes_on(tmp_path: Path):
    cache, directory = tmp_path / "cache", tmp_path / "run"
    line = [sys.executable, "-m", "vaex", *RUN, ENDLESS, f"hydra.run.dir={directory}"]
    running = subprocess.Popen(line, cwd=tmp_path, env={**os.environ, "VAEX_CACHE": str(cache)})
    try:
        until(lambda: epochs_on_disk(directory))
        kept = {name for name in entries(cache) if "epoch" in name}
        (programs,) = cache.iterdir()
        compilation_cache.remove_unsealed(programs)  # what another command begins with
        assert kept
        assert kept <= set(entries(cache))
    finally:
        running.kill()
        running.wait()


def test_it_is_in_the_users_cache_directory_for_this_cpu_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    directory = compilation_cache._directory()
    assert directory is not None
    assert directory.parent == tmp_path / "home" / "vaex" / "programs"
    monkeypatch.setattr(compilation_cache, "_cpu_kind", lambda: "another")
    assert compilation_cache._directory() != directory


@pytest.mark.slow
def test_jaxs_own_variable_holds(tmp_path: Path):
    done = run(tmp_path / "run", VAEX_CACHE=str(tmp_path / "cache"), JAX_COMPILATION_CACHE_DIR=str(tmp_path / "jax"))
    assert done.directory.exists()
    assert not (tmp_path / "cache").exists()


def test_a_place_where_others_can_put_code_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = tmp_path / "shared"
    folder.mkdir()
    assert compilation_cache._ready(folder)
    folder.chmod(0o777)
    assert not compilation_cache._ready(folder)
    assert "others can write" in caplog.text
    (tmp_path / "file").touch()
    caplog.clear()
    assert not compilation_cache._ready(tmp_path / "file" / "inside")
    assert caplog.messages == [
        f"no compiled programs are kept: {tmp_path}/file/inside: Not a directory; VAEX_CACHE=DIR names another place"
    ]


def test_without_a_home_there_is_none(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setenv("VAEX_CACHE", "~nobody-of-this-name/x")
    assert compilation_cache._directory() is None
    assert "no such home directory" in caplog.text


def test_only_what_is_as_it_was_sealed_stays(tmp_path: Path):
    def entry(name: str) -> Path:
        (tmp_path / f"{name}{USED}").write_bytes(bytes(8))
        path = tmp_path / f"{name}{ENTRY}"
        path.write_bytes(name.encode())
        return path

    whole, flipped, unsealed, evicted = map(entry, ("whole", "flipped", "unsealed", "evicted"))
    (tmp_path / f"half{ENTRY}").write_bytes(b"its writer was killed")
    compilation_cache.seal(tmp_path)
    assert not (tmp_path / f"half{SEAL}").exists()
    flipped.write_bytes(b"flippee")
    (tmp_path / f"unsealed{SEAL}").unlink()
    evicted.unlink()
    compilation_cache.remove_unsealed(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"whole{ENTRY}",
        f"whole{USED}",
        f"whole{SEAL}",
        f"evicted{USED}",
    }
    assert whole.read_bytes() == b"whole"
    assert not unsealed.exists()
