"""File name = option name = yaml name, and a new option is one file and one yaml."""

import dataclasses
import inspect
import json
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml

from vaex import config
from vaex.config import FUNCTIONS, GROUPS

ROOT = Path(__file__).parent.parent


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


NINTH = '''"""loss=cubed: the encoder outputs the cube root of log sigma."""

from typing import Annotated, Literal

import jax.numpy as jnp
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.posterior import Posterior, none_clamped


@dataclass(frozen=True, config=STRICT)
class Config:
    name: Literal["cubed"]
    scale: Annotated[float, Field(gt=0)]


def posterior(config, mu, raw):
    sigma = jnp.exp(config.scale * raw**3)
    return Posterior(mu, sigma, -0.5 * (1.0 + 2 * jnp.log(sigma) - sigma**2 - mu**2), none_clamped(mu))
'''


def test_a_ninth_parameterization_is_one_file_and_one_yaml(vaex, tmp_path):
    (tmp_path / "cubed.py").write_text(NINTH)
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "conf" / "loss" / "cubed.yaml").write_text("name: cubed\nscale: 0.1\n")
    mine = ("--config-dir", "conf", "plugins=[./cubed.py]", "loss=cubed")
    done = vaex(*mine, "dataset=digits", "model.hidden=[16]", "training.epochs=1", "tracking.mode=disabled")
    assert done.code == 0, done.stderr
    saved = yaml.safe_load((done.directory / "config.yaml").read_text())
    assert saved["loss"] == {"name": "cubed", "scale": 0.1}
    assert saved["plugins"] == ["./cubed.py"]
    assert -60 < json.loads((done.directory / "summary.json").read_text())["test/elbo"] < 0
