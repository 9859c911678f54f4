import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import pseudo_terminal, read_terminal
from vaex.commands import data as data_command
from vaex.errors import InputError


def test_list_has_every_dataset_and_whether_its_files_are_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("VAEX_DATA", str(tmp_path))
    assert data_command.main(["list"]) == 0
    lines = dict(line.split("\t")[:2] for line in capsys.readouterr().out.splitlines())
    assert lines == {
        "arrays": "your own",
        "digits": "none needed",
        "shards": "your own",
        "fashion_mnist": "missing",
        "images": "your own",
        "mnist": "missing",
        "shapes": "none needed",
        "shapes_grid": "none needed",
    }
    assert not list(tmp_path.iterdir())


def test_fetch_then_verify_then_damage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):
    assert data_command.main(["fetch", "fashion_mnist", "digits"]) == 0  # into the default cache, like a run
    where = Path(capsys.readouterr().out.splitlines()[-1].rpartition(" in ")[2])
    assert data_command.main(["verify", "fashion_mnist"]) == 0
    assert [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()] == ["here"] * 4

    monkeypatch.setenv("VAEX_DATA", str(tmp_path))
    (tmp_path / "fashion_mnist").mkdir()
    for path in where.iterdir():
        (tmp_path / "fashion_mnist" / path.name).symlink_to(path)
    assert data_command.main(["verify", "fashion_mnist"]) == 0
    damaged = tmp_path / "fashion_mnist" / "t10k-labels-idx1-ubyte"
    damaged.unlink()
    damaged.write_bytes(b"damaged")
    assert data_command.main(["verify", "fashion_mnist"]) == 1
    (tmp_path / "fashion_mnist" / "train-images-idx3-ubyte").unlink()
    capsys.readouterr()
    assert data_command.main(["verify"]) == 1
    states = [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()]
    assert states == ["missing", "here", "here", "damaged"] + ["missing"] * 4
    assert data_command.main(["verify", "digits"]) == 0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "expected list, fetch, verify"),
        (["lst"], "did you mean 'list'"),
        (["fetch", "fashion_minst"], "no dataset 'fashion_minst'; did you mean 'fashion_mnist'"),
        (["verify", "../mnist"], "no dataset"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], what: str):
    with pytest.raises(InputError, match=what) as caught:
        data_command.main(arguments)
    assert "\n" not in str(caught.value)


def test_a_terminal_gets_a_table():
    command = [sys.executable, "-c", "from vaex.commands.data import main; main(['list'])"]
    environment = os.environ | {"TERM": "xterm"}
    with (
        pseudo_terminal() as (ours, theirs),
        subprocess.Popen(command, stdout=theirs, env=environment) as process,
    ):
        shown = read_terminal(ours, process).decode()
    assert process.returncode == 0
    assert "┏━━" in shown
    assert "fashion_mnist" in shown
