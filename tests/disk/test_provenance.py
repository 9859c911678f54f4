"""The manifest's account of the code: what git knows, what was changed since, and files that git does not know yet."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import SMALL
from vaex import files
from vaex.disk import provenance


def git(folder: Path, *arguments: str) -> None:
    author = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    subprocess.run(["git", "-C", str(folder), *author, *arguments], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def asked_again() -> Iterator[None]:
    """A process asks git once; here each test is a process."""
    forget()
    yield
    forget()


def forget() -> None:
    provenance._code.cache_clear()
    provenance._diff.cache_clear()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed checkout that vaex seems to run from."""
    folder = tmp_path / "checkout"
    for name, content in {
        "vaex/a.py": "1\n",
        "conf/b.yaml": "2\n",
        ".gitignore": "*.pyc\n",
        "README.md": "3\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    monkeypatch.setattr(provenance, "__file__", str(folder / "vaex" / "disk" / "provenance.py"))
    return folder


def test_a_clean_checkout_has_a_commit_and_no_diff(checkout: Path, tmp_path: Path):
    (checkout / "README.md").write_text("not code\n")
    (checkout / "notes.txt").write_text("not code\n")
    (checkout / "vaex" / "a.pyc").write_text("ignored\n")
    manifest = provenance.manifest("0", tmp_path, "id", 0, "1")
    assert len(manifest["code"]["commit"]) == 40
    assert manifest["code"]["diff_sha256"] is None
    assert not (tmp_path / "code.diff").exists()


def test_the_saved_diff_makes_the_same_code_of_the_commit(checkout: Path, tmp_path: Path):
    git(checkout, "clone", "-q", str(checkout), str(tmp_path / "clean"))
    changed = {"vaex/a.py": b"changed\n", "vaex/new one.py": "σ = 1\n".encode(), "conf/loss/new.yaml": b"name: new\n"}
    for name, content in changed.items():
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_bytes(content)
    manifest = provenance.manifest("0", tmp_path, "id", 0, "1")
    patch = (tmp_path / "code.diff").read_bytes()
    assert manifest["code"]["diff_sha256"] == files.sha256(patch)
    git(tmp_path / "clean", "apply", str(tmp_path / "code.diff"))
    assert {name: (tmp_path / "clean" / name).read_bytes() for name in changed} == changed
    (checkout / "vaex" / "new one.py").write_text("σ = 2\n")
    forget()
    assert provenance.surroundings()["code"]["diff_sha256"] != manifest["code"]["diff_sha256"]


def test_an_installed_package_has_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "vaex" / "disk" / "provenance.py"))
    assert provenance.surroundings()["code"] == {"commit": None, "diff_sha256": None}


def test_training_starts_where_the_system_does_not_say_which_cores_it_may_use(tmp_path: Path):
    """macOS has no `os.sched_getaffinity`."""
    code = (
        "import os; del os.sched_getaffinity; "
        "from vaex import cli; from vaex.disk import threads; "
        "assert threads.cores() == os.cpu_count(); cli.main()"
    )
    sweep = ("-m", *SMALL, "training.epochs=1", "seed=0,1", "hydra.sweep.dir=sweep")
    env = {name: value for name, value in os.environ.items() if name != "NPROC"} | {"WANDB_MODE": "disabled"}
    done = subprocess.run([sys.executable, "-c", code, *sweep], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert files.read_json(tmp_path / "sweep" / "sweep.json")["threads"] == os.cpu_count()
