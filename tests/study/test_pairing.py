"""Which runs are pairs, and what one seed says: known answers."""

import json

import numpy as np
import pytest

from tests.support.made_runs import two_variants, write_run
from vaex.study import pairing, study
from vaex.study.pairing import Measured, Pair


def named(pairs):
    return {(pair.variant.name, pair.against.name) for pair in pairs}


def test_pairs_have_the_same_seed_and_setting_whatever_the_group_holds(tmp_path):
    """sigma has keys of its own, and runs differ in sections that no number depends on; neither breaks a pair."""
    tracking = {"tracking.group": "x", "checkpoint.every": 3, "plugins": ["./other.py"]}
    write_run(tmp_path / "0", [-1.0], "loss=sigma", "seed=1")
    write_run(tmp_path / "1", [-1.0], "loss=gamma", "seed=1", values=tracking)
    write_run(tmp_path / "2", [-1.0], "loss=gamma", "seed=2")
    write_run(tmp_path / "3", [-1.0], "loss=sigma", "seed=2", "model.latent_dim=5")
    write_run(tmp_path / "4", [-1.0], "loss=gamma", "seed=2", "model.latent_dim=5")
    found = study.read([tmp_path])
    assert (found.by, found.against, found.variants) == ("loss", "gamma", ["gamma", "sigma"])
    assert named(pairing.pairs(found)[0]["sigma"]) == {("job 0", "job 1"), ("job 3", "job 4")}
    assert pairing.setting_keys(found) == ["model.latent_dim"]


def test_pairs_by_another_group_and_by_one_key(tmp_path):
    for number, (optimizer, size) in enumerate([("adam", 5), ("sgd", 5), ("adam", 10), ("sgd", 10)]):
        write_run(tmp_path / str(number), [-1.0], f"optimizer={optimizer}", f"model.latent_dim={size}")
    by_group = study.read([tmp_path], by="optimizer", against="sgd")
    assert by_group.variants == ["sgd", "adam"]
    assert named(pairing.pairs(by_group)[0]["adam"]) == {("job 0", "job 1"), ("job 2", "job 3")}
    by_key = study.read([tmp_path], by="model.latent_dim")
    assert (by_key.against, by_key.variants) == ("5", ["5", "10"])
    assert named(pairing.pairs(by_key)[0]["10"]) == {("job 2", "job 0"), ("job 3", "job 1")}


def test_of_two_runs_of_one_configuration_the_second_is_named_and_left_out(tmp_path):
    for number, loss in enumerate(["sigma", "gamma", "sigma"]):
        write_run(tmp_path / str(number), [-1.0], f"loss={loss}")
    found = study.read([tmp_path])
    assert named(pairing.pairs(found)[0]["sigma"]) == {("job 0", "job 1")}
    assert pairing.pairs(found)[1] == ["job 2: the same configuration as job 0; only that one is compared"]


@pytest.fixture(scope="module")
def sixteen(tmp_path_factory):
    """Pairs of eight seeds at two settings."""
    folder = two_variants(tmp_path_factory.mktemp("study"), 1.0, rates=("1e-3", "1e-2"))
    return pairing.pairs(study.read([folder]))[0]["sigma"]


def test_a_seed_is_the_mean_of_its_settings(sixteen):
    numbers = {id(pair): number for pair, number in zip(sixteen, range(16), strict=True)}
    found = pairing.differences([Measured(pair, numbers[id(pair)], 0.0) for pair in sixteen])
    expected = [np.mean([numbers[id(p)] for p in sixteen if p.seed == str(seed)]) for seed in range(8)]
    np.testing.assert_allclose(found.values, expected)
    assert (found.seeds, found.pairs, found.mean_variant, found.mean_against) == (8, 16, 7.5, 0)


def test_a_missing_pair_does_not_move_its_seed_to_an_easier_setting(sixteen):
    """Setting 2 is 1 000 nats worse than setting 1. The seed that diverged there must not look 500 nats better."""
    hard = sixteen[-1].setting
    effect = {pair.seed: float(pair.seed) for pair in sixteen}
    some = [pair for pair in sixteen if (pair.setting, pair.seed) != (hard, "3")]
    found = pairing.differences([Measured(p, 1000 * (p.setting == hard) + effect[p.seed], 0.0) for p in some])
    assert found.pairs == 15
    assert np.abs(found.values - (500 + np.arange(8))).max() < 0.3


def test_a_setting_with_four_seeds_is_left_out(sixteen):
    hard = sixteen[-1].setting
    some = [pair for pair in sixteen if pair.setting != hard or int(pair.seed) < 4]
    found = pairing.differences([Measured(pair, 1e6 * (pair.setting == hard), 0.0) for pair in some])
    np.testing.assert_array_equal(found.values, np.zeros(8))
    assert hard not in found.settings
    few = pairing.differences([Measured(pair, 3.0, 1.0) for pair in some if pair.setting == hard])
    assert (len(few.values), few.seeds, few.mean_variant, few.settings) == (0, 4, 3.0, frozenset())
    assert pairing.differences([]).pairs == 0


def test_pairs_are_of_one_type(sixteen):
    assert all(isinstance(pair, Pair) and pair.variant.variant == "sigma" for pair in sixteen)


def test_the_recorded_digest_says_what_data_are_not_the_path(tmp_path):
    """One file under two names is one dataset; two contents under one name are two."""
    data = {"name": "arrays", "path": "a.npy", "limit": 7}
    runs = (
        ("0", "gamma", "a.npy", "aa"),
        ("1", "sigma", "moved/b.npy", "aa"),
        ("2", "gamma", "c.npy", "cc"),
        ("3", "sigma", "c.npy", "dd"),
    )
    for name, loss, path, digest in runs:
        directory = write_run(tmp_path / name, [-1.0], f"loss={loss}", values={"dataset": data | {"path": path}})
        manifest = json.loads((directory / "manifest.json").read_text())
        (directory / "manifest.json").write_text(json.dumps(manifest | {"dataset_sha256": digest * 32}))
    found = study.read([tmp_path])
    assert named(pairing.pairs(found)[0]["sigma"]) == {("job 1", "job 0")}
    assert found.varied == {"dataset.path": ["a.npy", "c.npy", "c.npy (SHA-256 dddddddd…)"]}
