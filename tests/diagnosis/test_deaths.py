"""Eight planted deaths: the diagnosis names term, unit and example, and its cure finishes when it is typed."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.diagnosis.deaths import NAMES, Death, make
from tests.support import processes
from vaex.config import Config
from vaex.disk import metrics, saved
from vaex.training.run import load
from vaex.vae import objective, step

pytestmark = pytest.mark.slow


def died(folder: Path, death: Death) -> Path:
    """A run that died so."""
    death.make(folder)
    code, text = processes.server().run(*death.overrides, "hydra.run.dir=run", cwd=folder)
    assert code == 1, text
    return folder / "run"


def loading(death: Death) -> list[str]:
    return [each for each in death.overrides if each.startswith("plugins=")]


def diagnosed(run: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """What `vaex diagnose` says of a run, and what it wrote."""
    code, text = processes.server().run("diagnose", run.name, *arguments, cwd=run.parent)
    assert code == 0, text
    assert "Traceback" not in text
    return text, json.loads((run / "diagnose.json").read_text())


def files_of(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and not path.name.startswith(("diagnose.", ".lock"))
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_death_is_named_and_cured(name: str, tmp_path: Path):
    death = make(name)
    run = died(tmp_path, death)
    before = files_of(run)
    text, found = diagnosed(run, *loading(death))
    assert files_of(run) == before

    steps = metrics.read_steps(run / "steps.npz")
    assert found["step"] == len(steps["loss"]) == (death.step or found["step"])
    assert found["replay"]["identical"], text
    assert "bit for bit as recorded" in text
    assert found["term"] == death.term
    for words in death.words:
        assert words in text, text
    assert found["unit"]["kind"] == death.kind
    if death.example is None:
        assert (found["unit"]["number"], found["example"]["index"]) == furthest(run, found["step"])
    else:
        assert found["example"]["index"] == death.example
        assert found["unit"]["number"] == (death.unit if death.unit is not None else found["unit"]["number"])
    if death.pixel is not None:
        assert (found["first_out_of_proportion"]["name"], found["first_out_of_proportion"]["unit"]) == (
            "x",
            death.pixel,
        )

    command = text.strip().splitlines()[-1].partition(": ")[2]
    assert command == found["cheapest"]["command"]
    code, said = processes.server().run(*shlex.split(command)[1:], "hydra.run.dir=cured", cwd=tmp_path)
    assert code == 0, said
    assert json.loads((tmp_path / "cured/summary.json").read_text())["status"] == "finished"
    page = (run / "diagnose.html").read_text()
    assert found["lines"][0].split(":")[0] in page
    assert (run / "diagnose.png").read_bytes().startswith(b"\x89PNG")


def furthest(run: Path, place: int) -> tuple[int, int]:
    """Latent and training image of the raw head that is furthest out: nearest to 0 of σ, largest of the others.

    Trained from the start, one step after the other, by `step.train_step` alone.
    """
    config: Config = saved.read_saved(run, ())
    images = load(config.dataset).train.images
    program, hyper = objective.program(config, images.shape[1:]), objective.hyper(config)
    steps = -(-len(images) // program.batch_size)
    one = jax.jit(lambda state, x, w, time: step.train_step(program, hyper, state, x, w, time)[0])
    encode = jax.jit(lambda parameters, x: objective.encode(program, hyper, parameters, x))
    state = step.init(program, hyper.seed)
    for number in range(place):
        if number % steps == 0:
            order = step.order(hyper.seed, jnp.int32(number // steps), len(images))
            rows, weights = (np.asarray(each) for each in step.batches(order, program.batch_size))
        here, weight = rows[number % steps], weights[number % steps]
        before = state
        state = one(state, jnp.asarray(images[here]), jnp.asarray(weight), jnp.float32(number / steps))
    sigma = np.abs(np.asarray(encode(before.parameters, jnp.asarray(images[here])).sigma, np.float64))[weight > 0]
    flat = np.argmin(sigma) if config.loss.name == "sigma" else np.argmax(sigma)
    example, unit = np.unravel_index(flat, sigma.shape)
    return int(unit), int(here[example])


@pytest.fixture(scope="module")
def bfloat16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that died at its 268th step, with a checkpoint shortly before it. Read only."""
    return died(tmp_path_factory.mktemp("bfloat16"), make("bfloat16 raw sigma"))


def test_without_checkpoints_a_run_is_replayed_from_its_start(bfloat16: Path, tmp_path: Path):
    run = Path(shutil.copytree(bfloat16, tmp_path / "run"))
    _, from_checkpoint = diagnosed(run, "--no-cures")
    shutil.rmtree(run / "checkpoints")
    text, found = diagnosed(run, "--no-cures")
    assert "replayed from the start: bit for bit as recorded, steps 1 to 268" in text
    for key in ("term", "unit", "example", "first_not_finite"):
        assert found[key] == from_checkpoint[key]


def test_a_run_of_other_versions_and_one_that_does_not_come_out_the_same(bfloat16: Path, tmp_path: Path):
    run = Path(shutil.copytree(bfloat16, tmp_path / "run"))
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["environment"]["versions"]["jax"] = "0.4.1"
    (run / "manifest.json").write_text(json.dumps(manifest))
    text, _ = diagnosed(run, "--no-cures")
    assert "not everything is as it was then (1 entries of the manifest), yet no bit differs" in text

    steps = metrics.read_steps(run / "steps.npz")
    steps["grad_norm"] = steps["grad_norm"].copy()
    steps["grad_norm"][266] = np.nextafter(steps["grad_norm"][266], np.float32(np.inf))
    (run / "steps.npz").write_bytes(metrics.steps_bytes([steps]))
    text, found = diagnosed(run, "--no-cures")
    assert "NOT as recorded, first at step 267" in text
    assert "bits may differ: environment.versions.jax: 0.4.1 then" in text
    assert "not as the run left it: steps.npz was altered" in text
    assert found["replay"]["first_difference"] == 267


def test_a_lane_of_a_pack_is_replayed_in_its_pack(tmp_path: Path):
    grid = ("-m", "loss=gamma,softplus", "seed=0,1", "optimizer.learning_rate=3e-2", "pack.strategy=vmap")
    overrides = (*grid, "dataset=digits", "training.epochs=2", "hydra.sweep.dir=sweep")
    processes.server().run(*overrides, cwd=tmp_path)
    run = tmp_path / "sweep" / "1"
    assert json.loads((run / "summary.json").read_text())["status"] == "diverged"
    code, text = processes.server().run("diagnose", "sweep/1", "--no-cures", cwd=tmp_path)
    assert code == 0, text
    found = json.loads((run / "diagnose.json").read_text())
    assert (found["replay"]["lanes"], found["replay"]["identical"]) == (4, True)
    assert found["term"] == json.loads((run / "summary.json").read_text())["culprit"]
    latent, example = found["unit"]["number"], found["example"]["in_batch"]
    assert found["latent"]["raw"] > 80, "e^γ is what overflows"
    assert (latent < 10, example < 128) == (True, True)
