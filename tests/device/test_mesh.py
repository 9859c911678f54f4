"""One run on several devices: the gradient of one device, its noise and order, refusals in a line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import yaml

from tests.conftest import Finished, command
from tests.support.configurations import make
from tests.support.processes import ROOT, SMALL
from vaex.config import dump, identity, later
from vaex.device import compiled, meeting, mesh
from vaex.device.compiled import Compiled
from vaex.device.datasets import load, on_device
from vaex.device.mesh import Together
from vaex.disk import provenance, saved
from vaex.errors import ConfigError, InputError
from vaex.training import run
from vaex.vae import objective

FLAGS, EIGHT = "XLA_FLAGS", "--xla_force_host_platform_device_count=8"
RUN = (*SMALL, "training.batch_size=64", "training.epochs=1")


def test_the_number_of_devices_is_part_of_what_a_run_is_and_one_is_what_older_runs_had(tmp_path: Path):
    now = make("dataset=digits", "loss=softplus", "training.on_nonfinite=skip")
    assert identity(now) == "68eeda351c64d10c2422015aff0f5b90a542c70dae7290afbd2e18d923300eb7"  # as test_config has it
    old = dump(now)
    del old["training"]["devices"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old))
    assert saved.read_saved(tmp_path, []) == now
    assert later.with_keys(old)["training"]["devices"] == 1
    assert len({identity(make(*RUN, f"training.devices={count}")) for count in (1, 2, 4)}) == 3


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0", "training.devices: expected greater than or equal to 1 or 'all', got 0"),
        ("al", "training.devices: expected an integer or 'all', got \"al\""),
        (
            "3",
            "training: 64 examples a batch cannot be shared equally by training.devices=3; training.batch_size=66 can",
        ),
    ],
)
def test_what_no_number_of_devices_can_be(value: str, message: str):
    with pytest.raises(ConfigError) as refused:
        make(*RUN, f"training.devices={value}")
    assert message in str(refused.value)


def test_more_devices_than_there_are_is_one_line_with_the_way():
    (line,) = _refused(lambda: run.check(make(*RUN, "training.devices=2"))).splitlines()
    assert line.startswith("training.devices: expected at most the number of devices here, 1 (cpu), got 2; ")
    assert "XLA_FLAGS=--xla_force_host_platform_device_count=2" in line
    assert line.endswith("training.devices=1 is another run than on 2")


def test_jobs_of_a_sweep_ask_for_equally_many_devices(monkeypatch: pytest.MonkeyPatch):
    one, two = make(*RUN), make(*RUN, "training.devices=2")
    assert "got 1, 2; make a sweep of each" in _refused(lambda: mesh.check_sweep([one, two]))
    assert "say how many" in _refused(lambda: mesh.check_sweep([make(*RUN, "training.devices=all")]))
    mesh.check_sweep([two, two])
    assert run.lanes(two) == jax.devices()[:1]  # one after the other
    monkeypatch.setattr(meeting, "asked", lambda: meeting.Asked(2, 0, "node1:99"))
    assert "a sweep trains in one process, and several were found" in _refused(lambda: mesh.check_sweep([two]))
    mesh.check_sweep([one])  # each of several processes may have a sweep of its own
    assert not run.vmapped(make(*RUN, "training.devices=2", "pack.strategy=vmap"))


def test_all_devices_are_those_that_are_here():
    assert mesh.resolved(make(*RUN, "training.devices=all")) == make(*RUN)


def _refused(function: Any) -> str:
    with pytest.raises(InputError) as refused:
        function()
    return str(refused.value)


def test_a_manifest_of_several_processes_gives_each_its_part_of_the_devices(monkeypatch: pytest.MonkeyPatch):
    counts = []
    monkeypatch.setattr(jax.config, "update", lambda _, count: counts.append(count))
    monkeypatch.setenv("NPROC", "2")
    for processes in (1, 2, 4):
        provenance.restore({"environment": {"threads": 2, "devices": ["cpu"] * 4}}, processes)
    assert counts == [4, 2, 1]


@pytest.mark.slow
def test_a_mesh_of_one_device_computes_what_the_device_computes():
    """The path of several devices in the process of the suite, which has one."""
    config = make(*SMALL, "dataset.limit=200", "training.batch_size=64")
    program, hyper = objective.program(config, (8, 8, 1)), objective.hyper(config)
    alone, found = jax.devices()[0], []
    for device in (alone, Together(jax.sharding.Mesh(np.array([alone]), (mesh.AXIS,)))):
        images, held_out = on_device(load(config.dataset), device)
        numbers, state = mesh.put((hyper, compiled.init(program, hyper.seed)), device)
        functions = Compiled(program, numbers, images, held_out, device, {})
        order = functions.order(numbers.seed, np.int32(0))
        state, steps = functions.train(numbers, state, order, images)
        rows, time = np.int32([0, 20]), np.float32(1)
        means = functions.evaluate(numbers, state.parameters, held_out, rows, time)
        found.append(jax.device_get((steps, means, state.parameters)))
    for one, other in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_the_gradient_of_eight_devices_is_that_of_a_linear_model_by_hand(tmp_path: Path):
    """In NumPy, float64: Bernoulli likelihood on logits, γ = log σ², three of 32 examples of weight 0."""
    place = tmp_path / "gradient.npz"
    _sharded("gradient", str(place))
    data = {name: value.astype(np.float64) for name, value in np.load(place).items()}
    p = {name[1:]: value for name, value in data.items() if name.startswith("p")}
    x, eps, share = data["x"].reshape(32, 64), data["eps"], (data["weights"] / data["weights"].sum())[:, None]

    def dense(h: np.ndarray, name: str) -> np.ndarray:
        return h @ p[f"['{name}']['kernel']"] + p[f"['{name}']['bias']"]

    mu, gamma = dense(x, "mu"), dense(x, "raw")
    sigma = np.exp(gamma / 2)
    z = mu + sigma * eps
    logits = dense(z, "outputs")
    likelihood = np.sum(share * (np.logaddexp(0, logits) - x * logits))
    kl = np.sum(share * -0.5 * (1 + gamma - np.exp(gamma) - mu**2))
    d_logits = share * (1 / (1 + np.exp(-logits)) - x)
    d_z = d_logits @ p["['outputs']['kernel']"].T
    d_mu, d_gamma = d_z + share * mu, d_z * eps * sigma / 2 + share * (np.exp(gamma) - 1) / 2
    known = {"mu": (x, d_mu), "raw": (x, d_gamma), "outputs": (z, d_logits)}
    assert data["loss"] == pytest.approx(likelihood + kl, rel=1e-6)
    for name, (before, after) in known.items():
        np.testing.assert_allclose(data[f"g['{name}']['kernel']"], before.T @ after, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(data[f"g['{name}']['bias']"], after.sum(0), rtol=1e-4, atol=1e-6)


def _sharded(*arguments: str) -> str:
    """What `tests.support.sharded` prints in a process that has eight devices."""
    line = [sys.executable, "-W", "ignore", "-m", "tests.support.sharded", *arguments]
    environment = dict(os.environ) | {FLAGS: EIGHT}
    return subprocess.run(line, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def of_counts(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Finished]:
    """An epoch of digits on 1, 2 and 8 virtual devices."""
    made = {}
    for count in (1, 2, 8):
        cwd = tmp_path_factory.mktemp(f"devices_{count}")
        made[count] = command(cwd, *RUN, f"training.devices={count}", XLA_FLAGS=EIGHT)
        assert made[count].code == 0, made[count].stderr
    return made


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 8])
def test_an_epoch_on_several_devices_is_that_of_one(count: int, of_counts: dict[int, Finished]):
    one, many = (of_counts[n].directory for n in (1, count))
    steps = [np.load(each / "steps.npz") for each in (one, many)]
    for name in ("loss", "reconstruction", "kl", "sigma_min", "sigma_max", "grad_norm"):
        np.testing.assert_allclose(steps[1][name][:5], steps[0][name][:5], rtol=1e-5, err_msg=name)
    rows = [json.loads((each / "metrics.jsonl").read_text()) for each in (one, many)]
    for name in ("train/loss", "train/elbo", "valid/loss", "valid/elbo", "valid/reconstruction", "valid/kl"):
        assert rows[1][name] == pytest.approx(rows[0][name], rel=1e-5), name
    manifest = json.loads((many / "manifest.json").read_text())
    assert manifest["environment"]["devices"] == ["cpu"] * 8
    assert yaml.safe_load((many / "config.yaml").read_text())["training"]["devices"] == count


@pytest.mark.slow
def test_a_run_on_several_devices_is_reproduced_resumed_and_used_by_any_verb(of_counts: dict[int, Finished]):
    """Its manifest has the devices of a CPU made again; another number is a variation."""
    cwd, run = of_counts[2].cwd, str(of_counts[2].directory)
    assert "identical" in command(cwd, "reproduce", run, "hydra.run.dir=again").stdout
    varied = command(cwd, "reproduce", run, "training.devices=1", "hydra.run.dir=varied")
    assert "training.devices: 2 then, 1 now" in varied.stdout
    refused = command(cwd, "resume", run, "training.devices=4")
    assert (refused.code, refused.stderr.count("\n")) == (2, 1)
    longer = command(cwd, "resume", run, "training.epochs=2")
    assert longer.code == 0, longer.stderr
    assert command(cwd, "sample", run, "--n", 3, "--out", "samples.npy").code == 0


@pytest.mark.slow
def test_jobs_of_a_sweep_train_one_after_the_other_on_all(tmp_path: Path):
    done = command(tmp_path, "-m", *RUN, "training.devices=2", "seed=0,1", "hydra.sweep.dir=sweep", XLA_FLAGS=EIGHT)
    assert done.code == 0, done.stderr
    lone = command(tmp_path, *RUN, "training.devices=2", "seed=1", "hydra.run.dir=lone", XLA_FLAGS=EIGHT)
    assert lone.code == 0, lone.stderr
    model = "model.safetensors"
    assert (tmp_path / "sweep/1" / model).read_bytes() == (tmp_path / "lone" / model).read_bytes()


@pytest.mark.slow
def test_a_step_sums_its_gradients_once():
    """The compiled epoch has one all-reduce that carries weights, whatever the number of layers."""
    program = _sharded("program")
    found = re.findall(r"= (.*?) all-reduce(?:-start)?\(", program)
    assert len([shapes for shapes in found if "150" in shapes]) == 1
    assert not re.search(r"(all-gather|all-to-all|collective-permute)(?:-start)?\(", program)
