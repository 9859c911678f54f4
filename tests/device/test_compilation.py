"""What is chosen before a program is compiled, and that a record of it is all that making it again needs."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from tests.support.configurations import make
from vaex.config.schema import Compile
from vaex.device import compilation
from vaex.device.compilation import Choice
from vaex.errors import InputError

GPU, CPU = SimpleNamespace(platform="gpu"), SimpleNamespace(platform="cpu")
BOOK = make("dataset=digits")


def test_sizes_are_few_and_never_twice_as_large():
    assert [compilation.few(count) for count in (1, 2, 3, 24, 30, 32, 33, 49, 65)] == [1, 2, 4, 32, 32, 32, 48, 64, 96]
    sizes = {compilation.few(count) for count in range(1, 1025)}
    assert len(sizes) == 16
    assert all(count <= compilation.few(count) < 2 * count for count in range(1, 1025))


@pytest.mark.parametrize(("steps", "autotune"), [(10_750, "off"), (5_000_000, "full")])
def test_kernels_are_timed_where_the_work_ahead_pays_for_it(steps: int, autotune: str):
    """25 epochs of the book alone (430 steps each), and some of many lanes."""
    chosen = compilation.choose(BOOK, 1, {10}, steps, GPU, spare=True)
    assert chosen == Choice(autotune, 1, 10)
    assert chosen.options == ({"xla_gpu_autotune_level": 0} if autotune == "off" else {})
    for wanted in ("off", "full"):
        config = replace(BOOK, compile=Compile(wanted))
        assert compilation.choose(config, 1, {10}, steps, GPU, spare=True).autotune == wanted


def test_xla_knows_the_option_by_this_name():
    lowered = jax.jit(lambda x: x @ x).lower(jnp.ones((2, 2)))
    assert lowered.compile(compiler_options=Choice("off", 1, 1).options) is not None
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option"):
        lowered.compile(compiler_options={"xla_gpu_autotune_levels": 0})


def test_flags_of_the_user_decide_before_us(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_autotune_level=2")
    assert compilation.choose(BOOK, 1, {10}, 1, GPU, spare=True) == Choice(None, 1, 10)


def test_on_a_cpu_there_is_nothing_to_choose():
    chosen = compilation.choose(BOOK, 24, {2, 10}, 10**9, CPU, spare=True)
    assert chosen == Choice(None, 24, 10)
    assert chosen.options == {}
    assert compilation.record(chosen, 24, {2, 10}, CPU) is None


def test_packs_of_about_a_size_share_a_program():
    of = [compilation.choose(BOOK, runs, {2, 9}, 100, GPU, spare=True) for runs in (24, 30, 32)]
    assert set(of) == {Choice("off", 32, 16)}
    assert compilation.choose(BOOK, 24, {9}, 100, GPU, spare=True).latents == 9  # of one size: nothing is masked
    assert compilation.choose(BOOK, 24, {9}, 100, GPU, spare=False).lanes == 24
    few = replace(BOOK, pack=replace(BOOK.pack, max_runs=24))
    assert compilation.choose(few, 24, {9}, 100, GPU, spare=True).lanes == 24


def test_a_choice_is_made_again_from_its_record():
    for runs, sizes in ((1, {10}), (24, {2, 9}), (32, {8})):
        for steps in (100, 10**9):
            chosen = compilation.choose(BOOK, runs, sizes, steps, GPU, spare=True)
            kept = compilation.record(chosen, runs, sizes, GPU)
            assert kept["lanes"] == chosen.lanes
            assert compilation.recorded(compilation.of({"program": kept}) or {}, runs, sizes, GPU) == chosen


def test_runs_from_before_there_was_a_choice_are_compiled_as_they_were():
    assert compilation.recorded(compilation.of({"run_id": "old"}) or {}, 24, {2, 9}, GPU) == Choice("full", 24, 9)
    assert compilation.of({}) is None


WRONG = (
    *({"lanes": lanes} for lanes in (10**9, 23, "24", 24.0, True)),
    *({"latents": 3}, {"autotune": []}),
)


@pytest.mark.parametrize("record", WRONG)
def test_a_record_that_no_choice_can_have_left_is_refused(record: dict[str, object]):
    with pytest.raises(InputError, match="its program cannot be rebuilt"):
        compilation.recorded(record, 24, {2, 9}, GPU)


def test_latents_to_spare_are_only_where_they_are_masked():
    with pytest.raises(InputError, match="its program cannot be rebuilt"):
        compilation.recorded({"latents": 16}, 24, {9}, GPU)
    with pytest.raises(InputError, match="its program cannot be rebuilt"):
        compilation.of({"program": "x"})


def test_what_may_differ_when_a_run_is_made_again():
    timed, gpu = {"autotune": "full", "lanes": 1}, {"environment": {"devices": ["NVIDIA H200"]}}
    assert len(compilation.doubts(gpu | {"program": timed})) == 1
    assert len(compilation.doubts(gpu)) == 1  # from before there was a choice
    assert compilation.doubts(gpu | {"program": {"autotune": "off", "lanes": 1}}) == []
    assert compilation.doubts({"environment": {"devices": ["cpu"]}}) == []
