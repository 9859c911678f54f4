"""What is said of data that can be trained on but are odd: one line a command, and a line in each run's vaex.log."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.configurations import make
from tests.support.processes import lines_of_error, server
from vaex.datasets import arrays
from vaex.training import remarks

RANDOM = np.random.RandomState(0)
MASK = (RANDOM.rand(20, 4, 5) > 0.5).astype(np.uint8)
GREY = RANDOM.randint(0, 256, (20, 4, 5)).astype(np.uint8)


def said(tmp_path: Path, array: np.ndarray, likelihood: str, *overrides: str) -> list[str]:
    np.save(tmp_path / "a.npy", array)
    path = f"dataset.path={tmp_path / 'a.npy'}"
    config = make("dataset=arrays", path, f"likelihood={likelihood}", *overrides)
    return list(remarks.of(config.dataset, arrays.load(config.dataset), config.likelihood))


@pytest.mark.parametrize(
    ("array", "likelihood", "overrides", "words"),
    [
        (
            MASK,
            "bernoulli",
            [],
            "uint8 values end at 1, .* nearly black; dataset.range=\\[0,1\\] takes 0 and 1 as they",
        ),
        (
            MASK * 16,
            "gaussian",
            [],
            "uint8 values end at 16, .* nearly black; scale the values up to 255, dataset.range",
        ),
        (MASK, "gaussian", ["dataset.range=[0,1]"], "only values are 0 and 1, which likelihood=gaussian treats as"),
        (MASK * 255, "laplace", [], "only values are 0 and 1, which likelihood=laplace .*; likelihood=bernoulli"),
        (MASK.astype(np.float32), "continuous_bernoulli", [], "only values are 0 and 1"),
        (
            MASK * np.float32(0.5),
            "bernoulli",
            [],
            "only values are 0 and 0.5, which likelihood=bernoulli .* grey; likelihood.binarize=threshold models two",
        ),
        (GREY * 0 + 51, "bernoulli", [], "every value is 0.2: there is nothing to learn"),
        (np.full((20, 4, 5), 0.3), "gaussian", [], "every value is 0.3"),
        (GREY.reshape(20, 1, 4, 5), "bernoulli", [], r"N x H x W x C = N x 1 x 4 x 5; .* np.transpose"),
        (np.zeros((20, 3, 8, 9)) + np.arange(9) / 9, "gaussian", [], r"= N x 3 x 8 x 9; .*\(array, \(0, 2, 3, 1\)\)"),
    ],
)
def test_what_is_odd_is_one_line(tmp_path: Path, array: np.ndarray, likelihood: str, overrides: list[str], words: str):
    (line,) = said(tmp_path, array, likelihood, *overrides)
    assert line.startswith("dataset=arrays: ")
    assert re.search(words, line), line


@pytest.mark.parametrize(
    ("array", "likelihood", "overrides"),
    [
        (GREY, "bernoulli", []),
        (GREY[..., None].repeat(3, -1), "gaussian", []),
        (GREY.reshape(20, 20), "gaussian", []),
        (MASK, "bernoulli", ["dataset.range=[0,1]"]),
        (MASK, "bernoulli", ["dataset.range=[0,255]"]),
        (MASK * 255, "bernoulli", []),
        (MASK * np.float32(0.5), "bernoulli", ["likelihood.binarize=threshold"]),
    ],
)
def test_nothing_is_said_of_data_as_they_should_be(
    tmp_path: Path, array: np.ndarray, likelihood: str, overrides: list[str]
):
    assert said(tmp_path, array, likelihood, *overrides) == []


def test_it_is_said_once_a_command_and_is_in_every_log(tmp_path: Path):
    np.save(tmp_path / "mask.npy", MASK)
    data = ("dataset=arrays", f"dataset.path={tmp_path / 'mask.npy'}", "training.epochs=1", "model.hidden=[]")
    code, text = server().run("-m", *data, "dataset.limit=8,9", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert code == 0, text
    assert len([line for line in lines_of_error(text) if "nearly black" in line]) == 1, text
    for job in ("0", "1"):
        assert (tmp_path / "sweep" / job / "vaex.log").read_text().count("nearly black") == 1
