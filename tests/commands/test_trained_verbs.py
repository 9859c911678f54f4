"""sample, encode, decode, interpolate, traverse: files that say what the run's model says, or one line."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from safetensors.numpy import save

import vaex
from tests.conftest import Finished
from tests.support.disks import small_disk
from tests.support.processes import lines_of_error, server, until
from vaex import cli, files
from vaex.commands import results


@pytest.fixture
def run(digits_run: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> vaex.Run:
    """The trained run, called `run`, from a working directory of its own. Read only."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").symlink_to(digits_run.directory)
    return vaex.load("run")


def said(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a command that is refused, which leaves nothing."""
    before = sorted(Path().rglob("*"))
    assert cli._guarded(list(arguments)) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert sorted(Path().rglob("*")) == before
    return line


def test_codes_of_a_split_an_array_and_a_folder_and_back(run: vaex.Run):
    """The three ways to name images agree with each other and with the API; what was encoded decodes to the figures."""
    images, labels = run.data("test")[:2]
    np.save("bytes.npy", (images * 255).round().astype(np.uint8))
    Path("folder").mkdir()
    for number in range(5):
        Image.fromarray((images[number, ..., 0] * 255).round().astype(np.uint8)).save(f"folder/{number}.png")
    assert cli._guarded(["encode", "run", "--split", "test", "--samples", "3"]) == 0
    assert cli._guarded(["encode", "run", "bytes.npy", "--samples", "3", "--out", "bytes.npz"]) == 0
    assert cli._guarded(["encode", "run", "folder", "--out", "folder.csv"]) == 0
    split, of_bytes, table = np.load("codes.npz"), np.load("bytes.npz"), pd.read_csv("folder.csv")
    code = run.encode(images)
    np.testing.assert_array_equal(split["mu"], code.mu)
    np.testing.assert_array_equal(split["sigma"], code.sigma)
    np.testing.assert_array_equal(split["elbo"], run.elbo(images, samples=3))
    np.testing.assert_array_equal(split["label_class"], labels[:, 0])
    np.testing.assert_allclose(of_bytes["mu"], code.mu, atol=0.02)  # sixteen shades as bytes
    assert table["name"].tolist() == [f"{number}.png" for number in range(5)]
    np.testing.assert_allclose(table["mu_0"], of_bytes["mu"][:5, 0], rtol=1e-5)
    for given, out in (("codes.npz", "a.npy"), ("folder.csv", "b.npy")):
        assert cli._guarded(["decode", "run", given, "--out", out]) == 0
    np.testing.assert_array_equal(np.load("a.npy"), run.reconstruct(images))
    np.testing.assert_allclose(np.load("b.npy"), run.reconstruct(np.load("bytes.npy")[:5]), atol=1e-5)


def test_a_round_trip_has_the_elbo_that_training_reported(run: vaex.Run):
    """Two estimates of one mean by different draws: within three standard errors of the paired difference's scale."""
    images = run.data("test").images
    elbo = np.asarray(run.elbo(images, samples=50))
    spread = np.std([np.mean(np.asarray(run.elbo(images, samples=1, seed=seed))) for seed in range(8)], ddof=1)
    assert abs(elbo.mean() - run.summary["test/elbo"]) < 3 * spread * np.sqrt(1 + 1 / 50)


def test_a_table_of_codes_has_its_columns_in_any_order(run: vaex.Run):
    """And may have others; z_… are taken before mu_…."""
    codes = np.random.default_rng(0).standard_normal((4, 10)).astype(np.float32)
    columns = {f"z_{number}": codes[:, number] for number in reversed(range(10))}
    others = {"name": list("abcd")} | {f"mu_{number}": [0.0] * 4 for number in range(10)}
    pd.DataFrame(others | columns).to_csv("codes.csv")
    assert cli._guarded(["decode", "run", "codes.csv"]) == 0
    np.testing.assert_array_equal(np.load("decoded.npy"), run.decode(codes))


def test_blocks_change_no_bit(run: vaex.Run, monkeypatch: pytest.MonkeyPatch):
    """More images than one block and one batch, as a file that stays on disk and in memory."""
    images = np.tile(run.data("test").images, (4, 1, 1, 1))[:600]
    np.save("images.npy", images[..., 0])
    assert cli._guarded(["encode", "run", "images.npy", "--samples", "1"]) == 0
    found = np.load("codes.npz")
    np.testing.assert_array_equal(found["mu"], run.encode(images).mu)
    np.testing.assert_array_equal(found["elbo"], run.elbo(images, samples=1))
    np.save("z.npy", found["mu"])
    monkeypatch.setattr(results, "BLOCK", 250)
    assert cli._guarded(["decode", "run", "z.npy"]) == 0
    np.testing.assert_array_equal(np.load("decoded.npy"), run.decode(found["mu"]))


def test_samples_are_of_their_seed_and_temperature(run: vaex.Run):
    assert cli._guarded(["sample", "run", "--npy", "--n", "7", "--seed", "3", "--temperature", "0.5"]) == 0
    np.testing.assert_array_equal(np.load("samples.npy"), run.sample(7, seed=3, temperature=0.5))
    assert cli._guarded(["sample", "run", "--out", "cold.npy", "--n", "2", "--temperature", "0"]) == 0
    cold = np.load("cold.npy")
    np.testing.assert_array_equal(cold[0], cold[1])
    np.testing.assert_array_equal(cold[0], run.decode(np.zeros(run.config["model"]["latent_dim"])))


def test_ways_and_moved_latents_as_arrays_and_as_pictures(run: vaex.Run):
    images = run.data("test").images
    way = ("interpolate", "run", "--from", "0", "--to", "9", "--steps", "3")
    assert cli._guarded([*way]) == cli._guarded([*way, "--out", "way.npy"]) == 0
    ends = run.encode(images[[0, 9]]).mu
    np.testing.assert_allclose(np.load("way.npy")[1], run.decode(ends.mean(axis=0)), atol=1e-5)
    moved = ("traverse", "run", "--image", "4", "--latent", "1,0", "--values", "-2,0.5")
    assert cli._guarded([*moved]) == cli._guarded([*moved, "--out", "moved.npy"]) == 0
    found, code = np.load("moved.npy"), run.encode(images[4]).mu
    assert found.shape == (2, 2, *images.shape[1:])
    code[1] = -2
    np.testing.assert_allclose(found[0, 0], run.decode(code), atol=1e-5)
    for name, columns in (("interpolation", 5), ("traversal", 2)):
        with Image.open(f"{name}.png") as picture:
            assert picture.width >= columns * 112


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sample", "run", "--n", "0"), "vaex sample: argument --n: expected a whole number from 1, got '0'"),
        (("sample", "run", "--n", "3000"), "samples.png: 3000 images in a picture; at most 2000, any number as"),
        (("sample", "run", "--npy", "--n", "99999999999"), "samples.npy: 99999999999 images; at most 10000000 in"),
        (("sample", "run", "--temperature", "nan"), "vaex sample: argument --temperature: expected a number from 0"),
        (
            ("sample", "run", "--temperature", "1e39"),
            "vaex sample: argument --temperature: expected a number from 0, f",
        ),
        (("sample", "run", "--seed", "-1"), "vaex sample: argument --seed: expected a whole number from 0 to 42"),
        (("sample", "run", "--temprature", "1"), "vaex sample: unknown flag --temprature; did you mean '--temp"),
        (("sample", "run", "--out", "x.jpg"), "--out: x.jpg: expected a name that ends in .png or .npy"),
        (("sample", "run", "--out", "x9.png", "--npy"), "vaex sample: --out and --npy: give one; a file's form is"),
        (("sample", "run", "--out", f"{'x' * 300}.png"), f"--out: {'x' * 300}.png: File name too long"),
        (("encode", "run", "x" * 300), f"{'x' * 300}: is not there; expected images: "),
        (("decode", "run", f"{'x' * 300}.npy"), f"{'x' * 300}.npy: is not there"),
        (("export", "run", "text.csv/x", "--format", "npz"), "text.csv/x: "),
        (("interpolate", "run", "--from", "0", "--to", "1", "--steps", "101"), "--steps: 101 images in a row; at most"),
        (("sample", "run", "--out", "no/x.png"), "--out: no/x.png: no is no directory"),
        (("sample", "run", "--checkpoint", "9"), "run: the state of epoch 9 was not kept (checkpoints: "),
        (("sample", "run", "--checkpoint", "first"), "vaex sample: --checkpoint: expected last, best or an epoch"),
        (("sample", "run", "seed=3"), "vaex sample: expected RUN, got run seed=3"),
        (("sample", "nowhere"), "nowhere: no such run directory"),
        (("sample", "sweep"), "sweep is a sweep: name one of its jobs, as in `vaex sample sweep/0`"),
        (("sample", "text.csv"), "vaex sample: text.csv is a file; expected a run directory"),
        (("sample",), "vaex sample: expected RUN, got nothing"),
        (("encode", "run"), "vaex encode: expected RUN INPUT, got run"),
        (("encode", "run", "gone.npy"), "gone.npy: is not there; expected images: "),
        (("encode", "run", "cut.npy"), "cut.npy: its header declares (4, 9, 9) float32, 1424 bytes in all, not 1415"),
        (("encode", "run", "objects.npy"), "objects.npy: values of type object; expected numbers"),
        (("encode", "run", "wide.npy"), "images: shape (4, 9, 9); expected N x 8 x 8 x 1, N x 8 x 8"),
        (("encode", "run", "bright.npy"), "images: "),
        (("encode", "run", "empty"), "empty: empty has no files"),
        (("encode", "run", "text.csv"), "text.csv: not an image; expected BMP"),
        (("decode", "run", "wide.npy"), "codes: shape (4, 9, 9); expected N x "),
        (("decode", "run", "none.npy"), "none.npy: shape (0, 10); expected N x …, each at least 1"),
        (("decode", "run", "text.csv"), "text.csv: expected columns z_0 to z_9, or mu_0 to mu_9, and it has a, b"),
        (("decode", "run", "sigma.csv"), "sigma.csv: expected columns z_0 to z_9, or mu_0 to mu_9, and it has sigma"),
        (("decode", "run", "more.csv"), "more.csv: expected columns z_0 to z_9, or mu_0 to mu_9, and it has z_0, "),
        (("decode", "run", "bare.csv"), "bare.csv: its first line is numbers and no header; expected one that names"),
        (("decode", "run", "words.csv"), "words.csv: not all of it is numbers: "),
        (("decode", "run", "huge.csv"), "codes: some values are not finite in float32"),
        (("decode", "run", "empty"), "empty: expected codes: an .npy, .npz or .csv file"),
        (("interpolate", "run", "--from", "0", "--to", "99999"), "test has images 0 to "),
        (("interpolate", "run", "--from", "x", "--to", "1"), "vaex interpolate: argument --from: expected a whole"),
        (("traverse", "run"), "vaex traverse: the following arguments are required: --image"),
        (("traverse", "run", "--image", "0", "--latent", "99"), "latent: expected 0 to "),
        (("traverse", "run", "--image", "0", "--values", "1e39"), "values: some are not finite in float32"),
        (("traverse", "run", "--image", "0", "--latent", "9" * 400), "--latent: expected numbers with commas between"),
        (
            ("encode", "run", "wide.npy", "--samples", "10" * 6),
            "vaex encode: argument --samples: expected a whole numb",
        ),
        (("traverse", "run", "--image", "0", "--values", "a"), "--values: expected numbers with commas between them"),
        (("evaluate", "run", "--metrics"), "vaex evaluate: unknown flag --metrics (it has none)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: tuple[str, ...], message: str, run: vaex.Run, capfd: pytest.CaptureFixture[str]
):
    Path("sweep").mkdir()
    Path("sweep/multirun.yaml").write_text("")
    Path("empty").mkdir()
    Path("text.csv").write_text("a,b\n1,2\n")
    for name, columns, cell in (
        ("sigma", [f"sigma_{number}" for number in range(10)], "1"),
        ("more", [f"z_{number}" for number in range(11)], "1"),
        ("bare", ["0.5"] * 10, "1"),
        ("words", [f"z_{number}" for number in range(10)], "one"),
        ("huge", [f"z_{number}" for number in range(10)], "1e39"),
    ):
        Path(f"{name}.csv").write_text(f"{','.join(columns)}\n{','.join([cell] * len(columns))}\n")
    np.save("wide.npy", np.zeros((4, 9, 9), np.float32))
    np.save("none.npy", np.zeros((0, 10), np.float32))
    np.save("bright.npy", np.full((4, 8, 8), 7, np.float32))
    np.save("objects.npy", np.array([None]), allow_pickle=True)
    Path("cut.npy").write_bytes(Path("wide.npy").read_bytes()[:-9])
    assert said(capfd, *arguments).startswith(f"vaex: {message}")


def test_names_of_files_that_a_terminal_or_a_spreadsheet_would_obey(run: vaex.Run):
    """Nor is a name too long that has room for no more than itself."""
    Path("folder").mkdir()
    for name in (b"folder/-1", b"folder/=1+1.png", b"folder/\xff.png"):
        Image.new("L", (8, 8)).save(os.fsdecode(name), "PNG")
    out = "x" * 240 + ".csv"
    assert cli._guarded(["encode", "run", "folder", "--out", out]) == 0
    assert pd.read_csv(out)["name"].tolist() == ["-1", "'=1+1.png", "\\udcff.png"]


def test_no_file_is_written_over_unasked(run: vaex.Run, capfd: pytest.CaptureFixture[str]):
    Path("samples.png").write_text("mine")
    line = said(capfd, "sample", "run")
    assert line == "vaex: samples.png: exists already; name another file by --out, or write over it by --force"
    assert Path("samples.png").read_text() == "mine"
    assert cli._guarded(["sample", "run", "--force"]) == 0
    assert Path("samples.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("verb", ["sample", "encode", "decode", "interpolate", "traverse"])
def test_a_run_without_a_model_is_one_line(
    verb: str, digits_run: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """As one that was interrupted before its first checkpoint."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(digits_run.directory, "run")
    Path("run/model.safetensors").unlink()
    shutil.rmtree("run/checkpoints")
    np.save("some.npy", np.zeros((3, 8, 8), np.float32))
    more = {
        "sample": (),
        "encode": ("some.npy",),
        "decode": ("some.npy",),
        "interpolate": ("--from", "0", "--to", "1"),
        "traverse": ("--image", "0"),
    }[verb]
    assert said(capfd, verb, "run", *more).startswith("vaex: run: holds no model: neither model.safetensors nor")


def test_a_run_that_was_cut_off_says_how_it_goes_on(
    digits_run: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(digits_run.directory, "a run")
    Path("a run/summary.json").unlink()
    line = said(capfd, "sample", "a run")
    expected = "vaex: a run/summary.json: is not there: the run has not ended; `vaex resume 'a run'` goes on with it"
    assert line == expected


@pytest.mark.parametrize("verb", ["decode", "traverse"])
def test_a_damaged_run_is_one_line(
    verb: str, digits_run: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(digits_run.directory, "run")
    np.save("z.npy", np.zeros((3, 10), np.float32))
    line = {"decode": ("decode", "run", "z.npy"), "traverse": ("traverse", "run", "--image", "0")}[verb]
    config = files.read_yaml(Path("run/config.yaml"))
    many = {f"{number:07}": np.zeros(0, np.float32) for number in range(20_000)}
    for name, content, words in (
        ("metrics.jsonl", '{"epoch": 1}\n', "run/metrics.jsonl: the row of epoch 1 has no number as valid/elbo"),
        ("metrics.jsonl", '{"epoch": 1, "valid/elbo": "-1"}\n', "run/metrics.jsonl: the row of epoch 1 has no numb"),
        ("metrics.jsonl", f'{{"epoch": 1, "valid/elbo": {9**999}}}\n', "run/metrics.jsonl: the row of epoch 1 has no"),
        ("config.yaml", yaml.safe_dump({**config, "model": None}), "run/config.yaml: model"),
        (
            "config.yaml",
            yaml.safe_dump({key: config[key] for key in config if key != "model"}),
            "run/config.yaml: model",
        ),
        ("config.yaml", yaml.safe_dump(config | {"model": config["model"] | {"latent_dim": 10**8}}), "run/model.safet"),
        ("model.safetensors", save(many), "run/model.safetensors: cannot be read as safetensors: a header of that"),
    ):
        kept = Path("run", name).read_bytes()
        Path("run", name).write_bytes(content.encode() if isinstance(content, str) else content)
        assert said(capfd, *line).startswith(f"vaex: {words}")
        Path("run", name).write_bytes(kept)


def test_every_verb_has_a_help_of_its_own(capfd: pytest.CaptureFixture[str]):
    for verb in cli.VERBS[1:]:
        assert cli._guarded([verb, "--help"]) == 0
        assert capfd.readouterr().out.startswith(f"usage: vaex {verb} ")
    assert cli._guarded(["train", "--help"]) == 0
    assert capfd.readouterr().out == cli.HELP.format(groups=cli._groups()) + "\n"


def test_ctrl_c_leaves_nothing_half_written(run: vaex.Run, tmp_path: Path):
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a shell's `&` ignores it
    line = [
        sys.executable,
        "-c",
        f"{heard}from vaex import cli; cli.main()",
        "sample",
        "run",
        "--npy",
        "--n",
        "5000000",
    ]
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: [*Path().glob(".samples.npy.*.tmp")], pause=0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")
    assert not [*Path().glob("*samples*"), *Path().glob(".*")]


def test_a_full_disk_is_one_line_and_leaves_nothing(digits_run: Finished):
    """Not SIGBUS, which ends the process before it can clear up."""
    with small_disk("1m") as folder:
        path = folder / "many.npy"
        code, text = server().run("sample", digits_run.directory, "--n", "10000", "--out", path)
        assert (code, lines_of_error(text)) == (3, [f"vaex: {path}: cannot be written (No space left on device)"])
        assert not list(folder.iterdir())


def test_a_link_in_place_of_the_result_is_replaced_and_not_followed(run: vaex.Run):
    Path("precious").write_text("mine")
    Path("samples.png").symlink_to("precious")
    assert cli._guarded(["sample", "run", "--force"]) == 0
    assert Path("precious").read_text() == "mine"
    assert not Path("samples.png").is_symlink()
    assert files.exists(Path("samples.png"))
