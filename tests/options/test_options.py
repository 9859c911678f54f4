"""File name = option name = yaml name, and a new option is one file and one yaml."""

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from tests.support.processes import results, server
from vaex import config
from vaex.config import FUNCTIONS, GROUPS
from vaex.portable import interpreter

ROOT = Path(__file__).parents[2]


def modules(group: str) -> set[str]:
    return {path.stem for path in (ROOT / "vaex" / GROUPS[group]).glob("*.py")} - {"__init__"}


OPTIONS = [(group, name) for group in GROUPS for name in sorted(modules(group))]


@pytest.mark.parametrize("group", GROUPS)
def test_each_yaml_has_its_module_and_the_other_way_round(group):
    assert {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")} == modules(group) != set()
    assert not (ROOT / "vaex" / GROUPS[group] / "__init__.py").read_text()


def test_each_group_of_conf_is_known():
    folders = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    assert folders - {"experiment", "hydra"} == set(GROUPS) == set(FUNCTIONS)


@pytest.mark.parametrize(("group", "name"), OPTIONS)
def test_each_option_has_what_its_group_needs(group, name):
    module = config.find(group, name)
    for function in FUNCTIONS[group]:
        assert inspect.getdoc(getattr(module, function))
    assert module.Config.__dataclass_params__.frozen
    assert module.Config.__pydantic_config__ == config.STRICT
    assert get_type_hints(module.Config)["name"].__args__ == (name,)


@pytest.mark.parametrize(("group", "name"), OPTIONS)
def test_the_yaml_holds_every_value_and_no_other(group, name):
    text = (ROOT / "conf" / group / f"{name}.yaml").read_text()
    fields = dataclasses.fields(config.find(group, name).Config)
    assert set(yaml.safe_load(text)) == {field.name for field in fields}
    assert all(field.default is dataclasses.MISSING for field in fields)
    assert text.startswith("# ")
    assert "_target_" not in text


SMALL = ("dataset=digits", "training.epochs=1", "tracking.mode=disabled")


def written_as_readme_has_it(folder: Path, group: str) -> list[str]:
    """The plugin and the yaml of the section on an option of one's own, written; the arguments that choose it."""
    section = (ROOT / "conf" / "README.md").read_text().partition(f"### A {group}\n")[2]
    line = re.search("^    vaex (.*)", section, re.MULTILINE)[1].split()
    name = line[0].removeprefix(f"{group}=")
    (folder / f"{name}.py").write_text(section.split("```python\n")[1].split("```")[0])
    (folder / "my_conf" / group).mkdir(parents=True)
    holds = re.search(f"`my_conf/{group}/{name}.yaml` holding `(.*)`", section)[1]
    (folder / "my_conf" / group / f"{name}.yaml").write_text(holds)
    return line


def test_a_loss_of_your_own_as_readme_has_it(tmp_path):
    line = written_as_readme_has_it(tmp_path, "loss")
    code, text = server().run(*line, *SMALL, "model.hidden=[16]", "hydra.run.dir=run", cwd=tmp_path)
    assert code == 0, text
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["loss"] == {"name": "cosh"}
    assert saved["plugins"] == ["./cosh.py"]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert -60 < summary["test/elbo"] < 0
    assert summary["sigma_min"] >= 1


def test_a_model_of_your_own_as_readme_has_it_trains_goes_on_and_is_swept(tmp_path):
    line, plugin = written_as_readme_has_it(tmp_path, "model"), "plugins=[./affine.py]"
    for arguments in (
        (*line, *SMALL, "hydra.run.dir=run"),
        ("resume", "run", plugin, "training.epochs=2"),
        ("-m", *line, *SMALL, "training.epochs=2", "seed=0,1", "hydra.sweep.dir=sweep"),
    ):
        code, text = server().run(*arguments, cwd=tmp_path)
        assert code == 0, text
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["model"] == {"name": "affine", "latent_dim": 10}
    assert saved["plugins"] == ["./affine.py"]
    assert -60 < json.loads((tmp_path / "run" / "summary.json").read_text())["test/elbo"] < 0
    assert results(tmp_path / "run") == results(tmp_path / "sweep" / "0") != results(tmp_path / "sweep" / "1")
    exporting = ("export", "run", "exported", "--format", "npz")
    assert server().run(*exporting, cwd=tmp_path)[0] == 2  # its plugin runs only where it is named
    assert not (tmp_path / "exported").exists()
    code, text = server().run(*exporting, plugin, cwd=tmp_path)
    assert code == 0, text
    saved, z = (
        load_file(tmp_path / "run" / "model.safetensors"),
        np.linspace(-1, 1, 20, dtype=np.float32).reshape(2, 10),
    )
    expected = 1 / (1 + np.exp(-(z @ saved["outputs.kernel"] + saved["outputs.bias"])))
    found = interpreter.load(tmp_path / "exported", "decoder")(z=z)["x"]
    np.testing.assert_allclose(found.reshape(2, 64), expected, atol=1e-5)
