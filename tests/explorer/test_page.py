"""The page in a real Chromium: clicks, drags, keys, a drawn digit; every number is the one that `vaex.load` gives."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

import vaex
from tests.support import browser as browsing
from tests.support.processes import server, until
from vaex import cli
from vaex.explorer import html, weights
from vaex.portable import interpreter

NEAR = 1e-3
"""What the page promises of every number."""

QUICK = ("dataset=digits", "training.epochs=2", "sweep.figures_up_to=0")


DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), sign => sign.charCodeAt(0)), dataTransfer = new DataTransfer();
dataTransfer.items.add(new File([bytes], 'dropped.png', { type: 'image/png' }));
document.querySelector('.drop').dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
"""
"""A file let go over the page's zone."""


class Page:
    """A page that is open: what it shows, and hands on it."""

    def __init__(self, window: browsing.Browser):
        self.window, self.driver = window, window.driver

    def open(self, path: Path, width: int = 1440) -> None:
        console, asked = self.window.open(path, width)
        until(lambda: self.window.ask("document.body.dataset.ready"), pause=0.05)
        assert console == []
        assert [address.partition(":")[0] for address in asked] == ["file"]
        assert self.window.ask("document.documentElement.scrollWidth") <= width

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def hands(self) -> ActionChains:
        return ActionChains(self.driver, duration=20)

    def pixels(self, name: str, run: int = 0) -> np.ndarray:
        where = f"[data-run='{run}'] [data-picture='{name}'] canvas"
        self.frame()
        return np.array(self.window.ask(f'[...document.querySelector("{where}").pixels]'))

    def frame(self) -> None:
        """Until what was asked for has been drawn."""
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    def code(self, run: int = 0) -> dict[str, np.ndarray]:
        """mu, sigma and KL by latent, as the table has them."""
        rows = self.window.ask(
            f"[...document.querySelectorAll(\"[data-run='{run}'] tbody tr\")]"
            ".map(row => [+row.dataset.latent, ...[...row.querySelectorAll('td')].map(cell => +cell.dataset.value)])"
        )
        ordered = np.array(sorted(rows))
        return dict(zip(("mu", "sigma", "kl"), ordered[:, 1:].T, strict=True))

    def sliders(self, run: int = 0) -> np.ndarray:
        """z as the sliders hold it."""
        self.frame()
        read = (
            f"[...document.querySelectorAll(\"[data-run='{run}'] input[data-latent]\")]"
            ".map(each => [+each.dataset.latent, +each.value])"
        )
        return np.array([value for _, value in sorted(self.window.ask(read))])

    def status(self) -> str:
        return self.find("[data-status]").text


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    if not (browsing.CHROMIUM and browsing.DRIVER):
        pytest.skip(browsing.MISSING)
    with browsing.chromium() as window:
        yield Page(window)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, vaex.Run]]:
    """Trains a run of some overrides and makes its page, once."""
    known: dict[tuple[str, ...], tuple[Path, vaex.Run]] = {}

    def make(*overrides: str) -> tuple[Path, vaex.Run]:
        if overrides not in known:
            folder = tmp_path_factory.mktemp("explored")
            code, text = server().run(*QUICK, *overrides, f"hydra.run.dir={folder / 'run'}")
            assert code == 0, text
            assert cli._guarded(["explore", str(folder / "run"), "--out", str(folder / "page.html")]) == 0
            known[overrides] = folder / "page.html", vaex.load(folder / "run")
        return known[overrides]

    return make


def agree(page: Page, run: vaex.Run, image: np.ndarray, number: int = 0) -> None:
    """All that the page says of an image is what the run says."""
    code, found = run.encode(image), page.code(number)
    np.testing.assert_allclose(found["mu"], code.mu, atol=NEAR)
    np.testing.assert_allclose(found["sigma"], code.sigma, atol=NEAR)
    kl = 0.5 * (code.mu.astype(float) ** 2 + code.sigma.astype(float) ** 2 - 1) - np.log(code.sigma.astype(float))
    np.testing.assert_allclose(found["kl"], kl, atol=NEAR)
    np.testing.assert_allclose(page.pixels("reconstruction", number), run.decode(code.mu).ravel(), atol=NEAR)
    np.testing.assert_allclose(page.pixels("decoded", number), run.decode(code.mu).ravel(), atol=NEAR)


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.latent_dim=10",),
        pytest.param(("model.latent_dim=1", "likelihood=gaussian", "loss=sigma"), marks=pytest.mark.slow),
        pytest.param(
            ("model.latent_dim=50", "likelihood=continuous_bernoulli", "loss=softplus"), marks=pytest.mark.slow
        ),
        pytest.param(("model=gated_mlp", "model.hidden=[16]", "likelihood.binarize=threshold"), marks=pytest.mark.slow),
        pytest.param(("model=linear", "likelihood=laplace"), marks=pytest.mark.slow),
        pytest.param(
            ("model=conv", "model.channels=[4]", "model.hidden=16", "likelihood=gaussian"), marks=pytest.mark.slow
        ),
    ],
    ids=lambda value: " ".join(value),
)
def test_every_model_says_in_the_page_what_it_says_here(page: Page, made: Any, overrides: tuple[str, ...]):
    path, run = made(*overrides)
    page.open(path)
    images = run.data("test").images
    for number in (0, 3):
        page.find(f"[data-number='{number}']").click()
        agree(page, run, images[number])
        assert page.status().startswith(f"test image {number}: class ")
    kl = page.window.ask("[...document.querySelectorAll('[data-kl]')].map(each => +each.dataset.kl)")
    assert kl == sorted(kl, reverse=True)
    assert len(kl) == run.config["model"]["latent_dim"]


def test_hands_on_sliders_the_pad_and_buttons(page: Page, made: Any):
    path, run = made("model.latent_dim=10")
    page.open(path)
    z, first = page.sliders(), int(page.find("input[data-latent]").get_attribute("data-latent"))
    page.hands().drag_and_drop_by_offset(page.find(f"input[data-latent='{first}']"), 40, 0).perform()
    moved = page.sliders()
    assert moved[first] != pytest.approx(z[first], abs=0.2)
    np.testing.assert_allclose(np.delete(moved, first), np.delete(z, first), atol=0.006)
    exact = run.encode(run.data("test").images[0]).mu
    exact[first] = moved[first]
    np.testing.assert_allclose(page.pixels("decoded"), run.decode(exact).ravel(), atol=NEAR)
    page.find(f"input[data-latent='{first}']").send_keys(Keys.ARROW_RIGHT)
    assert page.sliders()[first] == pytest.approx(moved[first] + 0.01, abs=1e-6)
    page.find("[data-do='random']").click()
    assert np.abs(page.sliders() - moved).max() > 0.1
    page.find("[data-do='reset']").click()
    np.testing.assert_allclose(page.sliders(), z, atol=0.006)

    pad = page.find("canvas.pad")
    page.hands().move_to_element(pad).click_and_hold().move_by_offset(90, -45).release().perform()
    found = page.sliders()
    across, up = (int(page.find(f"#{name}0").get_attribute("value")) for name in ("across", "up"))
    assert (found[across], found[up]) == pytest.approx((2, 1), abs=0.05)
    pad.send_keys(Keys.ARROW_LEFT, Keys.ARROW_UP)
    assert (page.sliders()[across], page.sliders()[up]) == pytest.approx((1.9, 1.1), abs=0.05)


def test_a_finger_on_the_pad_of_a_phone(page: Page, made: Any):
    path, _ = made("model.latent_dim=10")
    page.open(path, 390)
    page.window.ask("document.querySelector('canvas.pad').scrollIntoView({ block: 'center' })")
    box = page.window.ask("document.querySelector('canvas.pad').getBoundingClientRect().toJSON()")
    middle, unit = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2], box["width"] / 8
    for kind, at in (("Start", (0, 0)), ("Move", (1, 1)), ("Move", (2, 1)), ("End", None)):
        points = [] if at is None else [{"x": middle[0] + unit * at[0], "y": middle[1] - unit * at[1]}]
        page.window.run("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=points)
    found = page.sliders()
    across, up = (int(page.find(f"#{name}0").get_attribute("value") or "") for name in ("across", "up"))
    assert (found[across], found[up]) == pytest.approx((2, 1), abs=0.05)


def test_hovering_over_a_point_shows_its_image(page: Page, made: Any):
    path, run = made("model.latent_dim=10")
    page.open(path)
    mu = run.encode(run.data("test").images).mu
    across, up = (int(page.find(f"#{name}0").get_attribute("value")) for name in ("across", "up"))
    pad = page.find("canvas.pad")
    x, y = 45 * mu[7, across], -45 * mu[7, up]
    page.hands().move_to_element_with_offset(pad, round(float(x)), round(float(y))).perform()
    caption = until(lambda: page.driver.find_elements(By.CSS_SELECTOR, "[data-picture='under'] figcaption"))[0].text
    number = int(caption.split()[2].rstrip(":"))
    distance = np.hypot(*(mu[number] - mu[7])[[across, up]])
    assert distance < 0.05
    np.testing.assert_allclose(page.pixels("under"), run.data("test").images[number].ravel(), atol=1e-6)
    np.testing.assert_allclose(page.pixels("under-rebuilt"), run.decode(mu[number]).ravel(), atol=NEAR)


def test_a_drawing_a_file_and_the_way_between_two_images(page: Page, made: Any, tmp_path: Path):
    path, run = made("model.latent_dim=10")
    page.open(path)
    images = run.data("test").images
    page.find("[data-do='keep']").click()
    page.find("[data-number='5']").click()
    way = page.find("#way")
    way.send_keys(Keys.END)
    ends = run.encode(images[[5, 0]]).mu
    np.testing.assert_allclose(page.pixels("decoded"), run.decode(ends[1]).ravel(), atol=NEAR)
    way.send_keys(*[Keys.ARROW_LEFT] * 50)
    np.testing.assert_allclose(page.pixels("decoded"), run.decode(ends.mean(axis=0)).ravel(), atol=NEAR)

    canvas = page.find("#drawing")
    hands = page.hands().move_to_element_with_offset(canvas, -40, -60).click_and_hold()
    hands.move_by_offset(80, 0).move_by_offset(-40, 120).release().perform()
    assert page.status() == "your drawing"
    drawn = page.pixels("input")
    assert 0.05 < drawn.mean() < 0.7
    agree(page, run, drawn.reshape(8, 8).astype(np.float32))

    grey = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
    Image.fromarray(grey).save(tmp_path / "<b>mine.png")
    page.find("#file").send_keys(str(tmp_path / "<b>mine.png"))
    until(lambda: page.status() == "<b>mine.png")
    np.testing.assert_allclose(page.pixels("input"), grey.ravel() / 255, atol=2 / 255)
    page.driver.execute_script(DROP, base64.b64encode((tmp_path / "<b>mine.png").read_bytes()).decode())
    until(lambda: page.status() == "dropped.png")
    np.testing.assert_allclose(page.pixels("input"), grey.ravel() / 255, atol=2 / 255)
    (tmp_path / "text.png").write_text("no picture")
    page.find("#file").send_keys(str(tmp_path / "text.png"))
    until(lambda: "not a picture" in page.status())
    assert page.window.logs() == ([], [])


@pytest.mark.slow
def test_two_runs_side_by_side_and_earlier_states(page: Page, tmp_path: Path):
    """σ against γ on one input; the scrubber shows what an earlier state made of it."""
    grid = ("loss=sigma,gamma", "model.latent_dim=2", "checkpoint.keep=3", "training.epochs=3")
    code, text = server().run("-m", *QUICK, *grid, f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert code == 0, text
    runs = [str(tmp_path / "sweep" / number) for number in "01"]
    assert cli._guarded(["explore", *runs, "--out", str(tmp_path / "two.html"), "--states", "2"]) == 0
    for width in (390, 1440):
        page.open(tmp_path / "two.html", width)
        page.find("[data-number='2']").click()
        for number, directory in enumerate(runs):
            agree(page, vaex.load(directory), vaex.load(directory).data("test").images[2], number)
    early = vaex.load(runs[1], checkpoint=1)
    images = early.data("test").images
    page.find("[data-do='keep']").click()
    page.find("[data-number='3']").click()
    page.find("#state1").send_keys(Keys.HOME)
    agree(page, early, images[3], 1)
    read = "[...document.querySelectorAll(\"[data-run='1'] [data-kl]\")].map(each => +each.dataset.kl)"
    mu, sigma = early.encode(images)
    kl = (0.5 * (mu.astype(float) ** 2 + sigma.astype(float) ** 2 - 1) - np.log(sigma.astype(float))).mean(axis=0)
    np.testing.assert_allclose(page.window.ask(read), sorted(kl, reverse=True), atol=NEAR)
    page.find("#way").send_keys(Keys.END)
    np.testing.assert_allclose(page.pixels("decoded", 1), early.decode(early.encode(images[2]).mu).ravel(), atol=NEAR)
    assert [each.text for each in page.driver.find_elements(By.CSS_SELECTOR, "article h2")] == [
        "loss=sigma (sweep/0)",
        "loss=gamma (sweep/1)",
    ]
    text = page.find("#words").text
    assert "loss=sigma: the encoder outputs σ itself" in text
    assert "loss=gamma: the encoder outputs γ = log σ²" in text
    sides = page.window.ask("[...document.querySelectorAll('article')].map(each => each.getBoundingClientRect().top)")
    assert sides[0] == sides[1]


@pytest.mark.slow
def test_a_run_that_diverged_and_the_state_of_an_epoch(page: Page, tmp_path: Path):
    """Infinite σ and KL are dashes; an early state is called by its epoch, and has no ELBO of the end."""
    rate = ("loss=gamma", "optimizer.learning_rate=0.3", "training.epochs=3")
    code, text = server().run(*QUICK, *rate, f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 1, text
    assert cli._guarded(["explore", str(tmp_path / "run"), "--out", str(tmp_path / "end.html")]) == 0
    page.open(tmp_path / "end.html")
    code, text = server().run(*QUICK, "checkpoint.keep=2", f"hydra.run.dir={tmp_path / 'two'}")
    assert code == 0, text
    one = str(tmp_path / "one.html")
    assert cli._guarded(["explore", str(tmp_path / "two"), "--checkpoint", "1", "--out", one]) == 0
    page.open(Path(one))
    assert "ELBO of the test images" not in page.find("article").text
    data = json.loads(page.find("#data").get_attribute("textContent") or "")
    assert [state["epoch"] for state in data["runs"][0]["states"]] == [1]
    agree(page, vaex.load(tmp_path / "two", checkpoint=1), vaex.load(tmp_path / "two").data("test").images[0])

    path = tmp_path / "two" / "checkpoints" / "epoch_000001.ckpt"
    path.write_bytes(path.read_bytes()[:-3])
    assert cli._guarded(["explore", str(tmp_path / "two"), "--out", one, "--force"]) == 0
    page.open(Path(one))
    data = json.loads(page.find("#data").get_attribute("textContent") or "")
    assert [state["epoch"] for state in data["runs"][0]["states"]] == [2]
    assert "1 earlier ones were kept" in page.find("#training").text


@pytest.mark.slow
def test_a_low_precision_is_as_near_as_the_page_says(page: Page, made: Any):
    path, run = made("model.latent_dim=10", "precision.network=bfloat16")
    page.open(path)
    assert "it computes in bfloat16, whose numbers agree within 1/32 of the largest" in page.find("footer").text
    code, found = run.encode(run.data("test").images[0]), page.code()
    np.testing.assert_allclose(found["mu"], code.mu, atol=np.abs(code.mu).max() / 32)


@pytest.mark.slow
def test_pictures_are_offered_where_their_bytes_mean_what_the_data_mean(page: Page, tmp_path: Path):
    """Not for data from −1 to 1, where black would be read as grey."""
    np.save(tmp_path / "signed.npy", np.random.default_rng(0).uniform(-1, 1, (60, 8, 8)).astype(np.float32))
    data = ("dataset=arrays", f"dataset.path={tmp_path / 'signed.npy'}", "likelihood=gaussian", "training.epochs=1")
    code, text = server().run(*data, f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 0, text
    assert cli._guarded(["explore", str(tmp_path / "run"), "--out", str(tmp_path / "page.html")]) == 0
    page.open(tmp_path / "page.html")
    assert not page.driver.find_elements(By.CSS_SELECTOR, "#drawing, #file")
    agree(page, vaex.load(tmp_path / "run"), vaex.load(tmp_path / "run").data("test").images[0])


def test_the_runtime_agrees_with_the_interpreter_on_every_operation(page: Page, made: Any):
    """Each at odd values and at shapes that broadcast, in Chromium and in NumPy."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=18), [0, -0.0, 1e-8, -1e-8, 40, -40]]).astype(np.float32).reshape(2, 3, 4)
    y, row = rng.normal(size=(2, 3, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    yes, matrix, zero = x > 0, rng.normal(size=(4, 5)).astype(np.float32), np.zeros((), np.float32)
    special: dict[str, tuple[list[np.ndarray], dict[str, Any]]] = {
        "select": ([yes, x, row], {}),
        "matmul": ([x, matrix], {}),
        "reshape": ([x], {"shape": [-1, 12]}),
        "expand": ([row], {"shape": [-1, 3, 4]}),
        "transpose": ([x], {"permutation": [0, 2, 1]}),
        "slice": ([x], {"starts": [0, 1, 0], "limits": [-1, 3, 4], "strides": [1, 1, 2]}),
        "pad": ([x, zero], {"low": [0, 1, 0], "high": [0, 0, 2]}),
        "concatenate": ([x, y], {"axis": 1}),
        "sum": ([x], {"axes": [1]}),
        "maximum": ([x], {"axes": [1, 2]}),
        "not": ([yes], {}),
        "and": ([yes, y > 0], {}),
        "or": ([yes, y > 0], {}),
    }
    of_two = "add sub mul div max min greater greater_equal less less_equal equal not_equal"
    special |= {name: ([x, row], {}) for name in of_two.split()} | {"pow": ([np.abs(x), row], {})}
    odd = np.array([1e6, 7e-6, 2049, 1.00390625], np.float32)
    special["round"] = ([np.concatenate([x.ravel(), odd])], {"to": "float16"})
    cases = [(name, *special.get(name, ([x], {}))) for name in interpreter.OPERATIONS]
    cases.append(("round", special["round"][0], {"to": "bfloat16"}))
    path, _ = made("model.latent_dim=10")
    page.open(path)
    script = "\n".join((html.FOLDER / f"{name}.js").read_text() for name in ("runtime", "model"))
    for name, arrays, attributes in cases:
        names = [f"in{k}" for k in range(len(arrays))]
        graph = {
            "operations": [{"name": name, "inputs": names, "output": "out", **attributes}],
            "outputs": {"out": "out"},
        }
        with np.errstate(all="ignore"):
            expected = interpreter.run(graph, {}, dict(zip(names, arrays, strict=True)))["out"]
        given = {
            each: {"shape": list(array.shape), "data": array.astype(float).ravel().tolist()}
            for each, array in zip(names, arrays, strict=True)
        }
        run = (
            f"{script}; const given = {json.dumps(given)};"
            "for (const each of Object.values(given)) each.data = Float32Array.from(each.data);"
            f"const out = runGraph({json.dumps(graph)}, {{}}, given).out;"
            "return [out.shape, [...out.data].map(String)];"
        )
        shape, values = page.driver.execute_script(f"return (() => {{ {run} }})()")
        assert shape == list(expected.shape), name
        found = np.array([float(value.replace("Infinity", "inf")) for value in values])
        np.testing.assert_allclose(found, expected.astype(float).ravel(), rtol=2e-6, atol=1e-7, err_msg=name)


def test_the_shortest_weights_that_keep_the_promise():
    rng = np.random.default_rng(0)
    array = (rng.normal(size=1000) * 10.0 ** rng.integers(-6, 3, 1000)).astype(np.float32)
    relative = [np.abs(weights.rounded(array, form) / array - 1).max() for form in ("float24", "float32")]
    assert 0 < relative[0] < 2.0**-16
    assert relative[1] == 0
    assert weights.rounded(array[:1].reshape(()), "float24").shape == ()  # what a convolution pads with
    images = np.arange(256, dtype=np.float32).reshape(1, 16, 16, 1)
    assert weights.images(images / np.float32(255))["form"] == "uint8"
    assert weights.images(images / 16)["form"] == "float16"
    assert weights.images(images / 7)["form"] == "float32"


@pytest.mark.parametrize("damage", ["shape", "nan", "missing", "other data", "many", "exists"])
def test_what_cannot_be_shown_is_one_line(
    damage: str, made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    _, run = made("model.latent_dim=10")
    name = "<img src=x onerror=alert(1)>"
    shutil.copytree(run.directory, name)
    model, more = Path(name) / "model.safetensors", []
    arrays = load_file(model)
    first = next(iter(arrays))
    if damage == "shape":
        save_file(arrays | {first: arrays[first][:-1].copy()}, model)
    elif damage == "nan":
        save_file(arrays | {first: np.full_like(arrays[first], np.nan)}, model)
    elif damage == "missing":
        model.unlink()
        shutil.rmtree(Path(name) / "checkpoints")
    elif damage == "other data":
        code, text = server().run(*QUICK, "dataset.limit=300", f"hydra.run.dir={tmp_path / 'other'}")
        assert code == 0, text
        more = ["other"]
    elif damage == "many":
        more = list(map(str, range(4)))
        for each in more:
            shutil.copytree(run.directory, each)
    else:
        Path("explore.html").write_text("mine")
    capfd.readouterr()
    assert cli._guarded(["explore", name, *more]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("vaex: ")
    assert not Path("explore.html").exists() or Path("explore.html").read_text() == "mine"


def test_names_are_text(page: Page, made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A directory that somebody sent, with markup for a name."""
    monkeypatch.chdir(tmp_path)
    _, run = made("model.latent_dim=10")
    name = "<img src=x onerror=document.title=1>"
    shutil.copytree(run.directory, name)
    assert cli._guarded(["explore", name, "--images", "3"]) == 0
    page.open(tmp_path / "explore.html")
    assert name in page.find("article h2").text
    assert not page.driver.find_elements(By.CSS_SELECTOR, "h1 img, h2 img")
    assert name in page.driver.title
