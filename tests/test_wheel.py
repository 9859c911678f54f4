"""The wheel, in a clean environment outside the checkout: the configuration is inside, and a run is made from it."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE, ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """A clean environment with the wheel in it; the dependencies are those of this one, nothing is downloaded."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, capture_output=True)
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    return python


def test_the_wheel_holds_the_package_the_configuration_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    kinds = ("*.py", "*.css", "*.js")
    ours = {f"vaex/{path.relative_to(ROOT / 'vaex')}" for kind in kinds for path in (ROOT / "vaex").rglob(kind)}
    conf = {f"vaex/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.*")}
    metadata = {name for name in names if ".dist-info/" in name}
    assert names - metadata == ours | conf
    assert wheel.name.startswith("vaex_experiments-")
    assert any(name.endswith("licenses/LICENSE") for name in metadata)


def test_it_runs_where_it_is_installed(python, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*command):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    script = python.with_name("vaex")
    where = Path(run(python, "-c", "import vaex; print(vaex.__file__)").strip())
    assert where.is_relative_to(python.parent.parent)
    assert "continuous_bernoulli" in run(script, "--help")
    run(script, "dataset=digits", "training.epochs=1", "tracking.mode=disabled", "hydra.run.dir=here")
    run(script, "sample", "here")
    run(script, "explore", "here", "--images", "3")
    assert (tmp_path / "samples.png").exists()
    assert "function runGraph(" in (tmp_path / "explore.html").read_text()
    manifest = (tmp_path / "here" / "manifest.json").read_text()
    assert '"commit": null' in manifest
