"""What a command finds when it starts, and a standard output that takes nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Finished
from vaex import cli, files, process
from vaex.figures import gallery


def test_an_empty_variable_is_unset_unless_it_has_a_meaning(monkeypatch: pytest.MonkeyPatch):
    empty = ("NPROC", "JAX_ENABLE_X64", "WANDB_MODE", "WANDB_TAGS", "HOME", "COLUMNS")
    for name in (*empty, "VAEX_CACHE", "SOMEBODY_ELSES"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("WANDB_PROJECT", "p")
    process.unset_empty_variables()
    left = os.environ
    assert not [name for name in empty if name in left]
    assert (left["VAEX_CACHE"], left["SOMEBODY_ELSES"], left["WANDB_PROJECT"]) == ("", "", "p")


def test_closed_streams_are_opened_on_nothing(tmp_path: Path):
    """A file of ours that got the number of standard output would be written to by whatever prints."""
    code = (
        "from vaex import process; process.open_closed_streams(); file = open('f', 'w'); print('out'); "
        "import sys; print('err', file=sys.stderr); file.write(repr(file.fileno() > 2) + repr(sys.stdin.read()))"
    )
    line = ["bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash", sys.executable, "-c", code]
    assert subprocess.run(line, cwd=tmp_path).returncode == 0
    assert (tmp_path / "f").read_text() == "True''"


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (("dataset=digits", "dataset.limit=200", "training.epochs=1", "hydra.run.dir=new"), "summary.json"),
        (("reproduce", "RUN", "hydra.run.dir=new"), "reproduce.json"),
        (("resume", "RUN"), None),
        (("figures", "COPY"), None),
    ],
    ids=["train", "reproduce", "resume", "figures"],
)
def test_a_full_standard_output_ends_no_command(
    arguments: tuple[str, ...], left: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits_run: Finished
):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.yaml", "manifest.json", "metrics.jsonl", "model.safetensors"):
        (copy / name).write_bytes((digits_run.directory / name).read_bytes())
    places = {"RUN": str(digits_run.directory), "COPY": str(copy)}
    monkeypatch.chdir(tmp_path)
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert cli._guarded([places.get(argument, argument) for argument in arguments]) == 0
    assert left is None or files.read_json(tmp_path / "new" / left).keys() & {"status", "verdict"}
    assert "figures" not in arguments or len(list((copy / "figures").iterdir())) == len(gallery.UNASKED)


def test_a_full_standard_output_is_an_error_where_it_is_all_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    with Path("/dev/full").open("w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        assert cli._guarded(["data", "list"]) == 3
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert "No space left on device" in capfd.readouterr().err
