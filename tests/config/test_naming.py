"""Names that a person can read: known answers, and that they differ where the overrides do."""

import itertools

import pytest

from tests.support.configurations import make
from vaex.config import naming

COMMON = {"dataset=digits", "training.epochs=1"}

NAMES = {
    ("model.latent_dim=10", "loss=gamma", "seed=0"): "gamma-k10-s0",
    ("seed=3", "dataset=digits", "optimizer.learning_rate=1e-3", "training.epochs=1"): "lr1e-3-s3",
    ("+experiment=book", "training.batch_size=64"): "book-batch_size64",
    ("model.hidden=[256, 128]", "kl_weight.beta=-0.5"): "hidden256x128-beta-0.5",
    ("training.gradient_clip=null", "tracking.name='a.b'"): "gradient_clipnull-namea.b",
    ("dataset=digits",): "",
}


@pytest.mark.parametrize(("overrides", "name"), NAMES.items())
def test_the_name_of_a_job(overrides, name):
    assert naming.of_job(overrides, COMMON) == name


def test_the_name_of_a_lone_run():
    assert naming.of_lone(make("model.latent_dim=2", "loss=sigma", "seed=7")) == "sigma-k2-s7"


def test_what_cannot_be_written_in_full_differs_all_the_same():
    texts = ["a/b.npy", "a b.npy", "a:b.npy", "x" * 300, "x" * 301, "漢字/1", "漢字 1", "[a,b]", "{a: 1}"]
    names = [naming.of_job([f"dataset.path={text}", "seed=1"], ()) for text in texts]
    assert len(set(names)) == len(texts)
    assert max(map(len, names)) == naming.LONGEST
    assert all(name.startswith(("patha_b.npy-s1-", "pathxx", "path漢字_1-s1-", "path_a")) for name in names)
    assert names == [naming.of_job([f"dataset.path={text}", "seed=1"], ()) for text in texts]


def test_the_names_of_a_grid_differ():
    grid = {
        "loss": ["gamma", "sigma"], "model": ["linear", "mlp"], "kl_weight": ["linear", "constant"],
        "model.latent_dim": ["1", "10"], "kl_weight.free_bits": ["1", "0.1"], "seed": ["0", "-0", "1e-1", "1e1"],
    }  # fmt: skip
    jobs = [
        [f"{key}={value}" for key, value in zip(grid, row, strict=True)] for row in itertools.product(*grid.values())
    ]
    assert len({naming.of_job(job, naming.common(jobs)) for job in jobs}) == len(jobs)


def test_a_sweep_of_one_job_has_nothing_in_common():
    assert naming.common([["seed=0"]]) == set()
    assert naming.common([["a=1", "seed=0"], ["a=1", "seed=1"]]) == {"a=1"}
