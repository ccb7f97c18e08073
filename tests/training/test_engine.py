"""The engine: what is chosen and why, that each choice gives the same, and that a training goes on without the rest."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from nnbox.errors import ChangedRunError, ResourceError, UsageError
from nnbox.network import kernels, trial
from nnbox.network.trial import kernels_refused
from nnbox.records.engine import (
    AugmentationPath,
    Engine,
    EngineWishes,
    NormKind,
    Residence,
    SpeedUp,
    options,
    parse_augmentation,
    parse_without,
)
from nnbox.records.precision import Precision
from nnbox.training import residence
from nnbox.training.checkpoint import LossScaling
from nnbox.training.draw import sampling_plan
from nnbox.training.engine import GRAPH_OPERATIONS, Surroundings, choose_engine, settle_engine, settled
from nnbox.training.learner import Learner
from nnbox.training.loop import train_fold
from nnbox.training.sample import Sampler
from nnbox.training.trial import training_kernels_refused

GIGABYTE = 10**9
CARD = Surroundings(
    device="cuda:0",
    operations=1e11,
    narrow=True,
    kernels_refused=None,
    training_kernels_refused=None,
    case_bytes=GIGABYTE,
    free_device_bytes=80 * GIGABYTE,
    free_host_bytes=64 * GIGABYTE,
)
ON_CARD = EngineWishes(precision=Precision.BF16, augmentation=AugmentationPath.GPU)


def silent(_news):
    pass


def choose(wishes=ON_CARD, **changes) -> Engine:
    return choose_engine(wishes, dataclasses.replace(CARD, **changes))


def switched_off(*names: SpeedUp) -> EngineWishes:
    return dataclasses.replace(ON_CARD, without=names)


def test_a_card_gets_everything_it_can_do():
    engine = choose()
    assert (engine.norm, engine.graphs, engine.residence) == (NormKind.TRITON, True, Residence.DEVICE)
    assert engine.channels_last
    assert engine.fused_adam
    assert engine.sentence.startswith("engine on cuda:0: convolutions in bf16; ")


def test_a_cpu_computes_in_float32_with_batchgenerators_unless_told_otherwise():
    assert settled(EngineWishes(), "cpu") == EngineWishes(
        precision=Precision.FLOAT32, augmentation=AugmentationPath.CPU
    )
    told = EngineWishes(precision=Precision.BF16, augmentation=AugmentationPath.GPU)
    assert settled(told, "cpu") == told
    with pytest.raises(ResourceError, match="fp16"):
        settled(EngineWishes(precision=Precision.FP16), "cpu")


@pytest.mark.parametrize(
    ("case_gb", "device_gb", "host_gb", "expected"),
    [
        (24, 80, 64, Residence.DEVICE),  # 30 % of the free device
        (25, 80, 64, Residence.HOST),
        (25, 80, 62.5, Residence.HOST),  # 40 % of the free host
        (26, 80, 62.5, Residence.MAPPED),
        (25, None, 64, Residence.HOST),
    ],
)
def test_cases_lie_on_the_device_else_in_memory_else_in_files(case_gb, device_gb, host_gb, expected):
    free = None if device_gb is None else int(device_gb * GIGABYTE)
    engine = choose(case_bytes=int(case_gb * GIGABYTE), free_device_bytes=free, free_host_bytes=int(host_gb * GIGABYTE))
    assert engine.residence is expected


def test_networks_side_by_side_share_the_device_and_hold_no_case_twice_in_memory():
    assert choose(case_bytes=12 * GIGABYTE, at_once=1).residence is Residence.DEVICE
    assert choose(case_bytes=12 * GIGABYTE, at_once=2).residence is Residence.DEVICE
    engine = choose(case_bytes=13 * GIGABYTE, at_once=2)
    assert engine.residence is Residence.MAPPED
    assert "mapped files: all processes share them" in engine.sentence
    assert choose(case_bytes=25 * GIGABYTE, at_once=1).residence is Residence.MAPPED


def test_what_the_machine_cannot_give_is_not_free(monkeypatch):
    monkeypatch.setattr(residence, "available_memory_bytes", lambda: 64 * GIGABYTE)
    monkeypatch.setattr(residence, "memory_in_use_bytes", lambda: 4 * GIGABYTE)
    for unused, free in ((None, 60), (100 * GIGABYTE, 60), (7 * GIGABYTE, 7)):
        monkeypatch.setattr(residence, "unused_memory_bytes", lambda unused=unused: unused)
        assert residence.free_host_bytes() == free * GIGABYTE


def test_what_torch_keeps_of_a_card_counts_as_free(job, monkeypatch):
    """A training that begins after another one in the same process finds what that one left to torch."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    card = SimpleNamespace(name="a card", total_memory=80 * GIGABYTE)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: card)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (2 * GIGABYTE, 80 * GIGABYTE))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 70 * GIGABYTE)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 0)
    monkeypatch.setattr("nnbox.training.engine.case_bytes", lambda _job: 20 * GIGABYTE)
    wishes = dataclasses.replace(ON_CARD, precision=Precision.FLOAT32, without=(SpeedUp.FUSED_NORM,))
    monkeypatch.setattr("nnbox.training.engine.choose_precision", lambda wanted, _device: wanted)
    engine = settle_engine(dataclasses.replace(job, device="cuda:0", engine=wishes))
    assert engine.residence is Residence.DEVICE


def test_workers_read_mapped_files():
    assert choose(dataclasses.replace(ON_CARD, augmentation=AugmentationPath.CPU)).residence is Residence.MAPPED


@pytest.mark.parametrize(
    ("name", "attribute", "value"),
    [
        (SpeedUp.FUSED_NORM, "norm", NormKind.PLAIN),
        (SpeedUp.FUSED_ADAM, "fused_adam", False),
        (SpeedUp.CHANNELS_LAST, "channels_last", False),
        (SpeedUp.WIDE, "wide", False),
        (SpeedUp.KERNELS, "kernels", False),
        (SpeedUp.GRAPHS, "graphs", False),
        (SpeedUp.RESIDENT, "residence", Residence.MAPPED),
    ],
)
def test_every_speed_up_can_be_switched_off_alone(name, attribute, value):
    engine = choose(switched_off(name))
    assert getattr(engine, attribute) == value
    assert sum("switched off" in reason for reason in engine.reasons) == 1
    changed = dataclasses.replace(engine, **{attribute: getattr(choose(), attribute)}, reasons=())
    assert changed == dataclasses.replace(choose(), reasons=())


def test_a_large_network_is_not_recorded():
    assert not choose(operations=2 * GRAPH_OPERATIONS).graphs


def test_features_are_rounded_up_where_16_bits_gain_from_it():
    assert choose().wide
    assert not choose(narrow=False).wide
    assert not choose(dataclasses.replace(ON_CARD, precision=Precision.FLOAT32)).wide


def test_kernels_that_do_not_run_leave_the_twin_and_the_reason():
    engine = choose(kernels_refused="RuntimeError: no C compiler")
    assert engine.norm is NormKind.TWIN
    assert "no C compiler" in engine.sentence


def test_words_of_the_command_line_become_wishes():
    assert parse_without(["graphs", "fused-norm", "graphs"]) == (SpeedUp.FUSED_NORM, SpeedUp.GRAPHS)
    assert parse_without(["all"]) == tuple(SpeedUp)
    assert parse_without([]) == ()
    with pytest.raises(UsageError, match="--without speed: expected all, or some of fused-norm"):
        parse_without(["graphs", "speed"])
    with pytest.raises(UsageError, match="--augmentation tpu: expected one of auto, cpu, gpu"):
        parse_augmentation("tpu")


@pytest.fixture
def batches(job):
    sampler = Sampler(sampling_plan(job))
    return [sampler.batch(index) for index in range(3)]


def take_steps(job, batches, **changes):
    learner = Learner(job, dataclasses.replace(settle_engine(job), **changes))
    losses = []
    for batch in batches:
        losses.append(float(learner.gradients(batch)))
        learner.step(1e-3)
    return learner, losses


def assert_same_weights(one, other, **tolerance):
    for name, value in one.weights().items():
        # A bias before a normalisation has no gradient but rounding, which Adam blows up.
        if not name.endswith("conv.bias"):
            torch.testing.assert_close(other.weights()[name], value, **tolerance)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": NormKind.PLAIN},
        {"norm": NormKind.TRITON},
        {"channels_last": False},
        {"fused_adam": False},
        {"wide": True},
        {"kernels": True},
    ],
    ids=["plain norm", "triton norm", "features in planes", "plain adam", "rounded up", "kernels"],
)
def test_each_way_to_compute_gives_the_same_steps(job, batches, changes):
    expected, losses = take_steps(job, batches)
    found, other = take_steps(job, batches, **changes)
    assert other == pytest.approx(losses, abs=1e-4)
    assert_same_weights(expected, found, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BF16])
def test_a_replayed_step_is_the_step(job, batches, precision):
    """A CPU has no graphs: here the step is called on the arrays that a graph would be replayed on."""
    expected, losses = take_steps(job, batches, precision=precision)
    found, other = take_steps(job, batches, precision=precision, graphs=True)
    assert found.engine.graphs
    assert other == losses
    assert_same_weights(expected, found, atol=0, rtol=0)


def test_a_step_that_cannot_be_recorded_is_launched_anew_and_said(job, batches, monkeypatch, caplog):
    def broken(*_arguments):
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    expected, losses = take_steps(job, batches)
    monkeypatch.setattr("nnbox.training.recorded._record", broken)
    found, other = take_steps(job, batches, graphs=True)
    assert not found.engine.graphs
    assert "recording the CUDA graph failed" in found.engine.sentence
    assert caplog.text.count("cannot be recorded") == 1
    assert other == losses
    assert_same_weights(expected, found, atol=0, rtol=0)


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.FP16])
def test_half_precision_gives_nearly_the_loss_of_single_precision(job, batches, precision):
    """What a GPU does, on a CPU: 16-bit convolutions, the loss in float32, float32 weights."""
    single, losses = take_steps(job, batches)
    half, others = take_steps(job, batches, precision=precision)
    assert others == pytest.approx(losses, abs=0.02)
    assert all(values.dtype == torch.float32 for values in half.weights().values())
    assert float(half.validate(batches[0])[0]) == pytest.approx(float(single.validate(batches[0])[0]), abs=0.02)


@pytest.mark.parametrize(
    "changes", [{"precision": Precision.BF16}, {"precision": Precision.FP16}, {"graphs": True}, {"wide": True}]
)
def test_a_learner_of_any_engine_goes_on_as_if_never_stopped(job, batches, changes):
    straight, _ = take_steps(job, batches, **changes)
    before, _ = take_steps(job, batches[:1], **changes)
    after = Learner(job, straight.engine)
    after.load({name: tensor.clone().contiguous() for name, tensor in before.state().items()}, before.loss_scaling)
    for batch in batches[1:]:
        after.gradients(batch)
        after.step(1e-3)
    expected, found = straight.state(), after.state()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert straight.loss_scaling == after.loss_scaling
    assert (straight.loss_scaling is None) == (straight.engine.precision is not Precision.FP16)


def test_the_state_of_loss_scaling_is_taken_up(job):
    engine = dataclasses.replace(settle_engine(job), precision=Precision.FP16)
    learner = Learner(job, engine)
    learner.load(learner.state(), LossScaling(scale=1024.0, growth_steps=7))
    assert learner.loss_scaling == LossScaling(scale=1024.0, growth_steps=7)


@pytest.mark.parametrize(
    "wishes",
    [
        EngineWishes(precision=Precision.BF16),
        EngineWishes(augmentation=AugmentationPath.GPU),
        EngineWishes(without=(SpeedUp.FUSED_NORM,)),
    ],
)
def test_a_checkpoint_is_continued_by_the_same_engine_only(job, wishes):
    assert job.digest() == dataclasses.replace(job, engine=settled(job.engine, "cpu")).digest()
    train_fold(dataclasses.replace(job, epochs=1), report=silent)
    with pytest.raises(ChangedRunError) as error:
        train_fold(dataclasses.replace(job, epochs=1, engine=wishes), report=silent)
    assert "was begun on cpu with --precision float32 --augmentation cpu;" in str(error.value)
    assert f"on cpu this command means {options(settled(wishes, 'cpu'))}" in str(error.value)


def test_what_another_device_changes_is_named_and_the_remedy_works(job, monkeypatch):
    """Begun where ``auto`` means bf16, as on a card, and continued where it means float32."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("nnbox.training.engine.choose_precision", lambda _wanted, _device: Precision.BF16)
        train_fold(dataclasses.replace(job, epochs=1), report=silent)
    with pytest.raises(ChangedRunError) as error:
        train_fold(dataclasses.replace(job, epochs=1), report=silent)
    words = "was begun on cpu with --precision bf16 --augmentation cpu; on cpu this command means --precision float32"
    assert words in str(error.value)
    assert f"or delete the folder {job.folder}" in str(error.value)
    shutil.rmtree(job.folder)
    assert train_fold(dataclasses.replace(job, epochs=1), report=silent).epochs == 1


def test_a_training_in_bf16_learns(job):
    result = train_fold(dataclasses.replace(job, engine=EngineWishes(precision=Precision.BF16)), report=silent)
    assert result.loss_last < result.loss_first


def test_the_engine_is_told_first(job):
    told = []
    train_fold(dataclasses.replace(job, epochs=1), report=told.append)
    assert isinstance(told[0], Engine)
    assert "float32" in told[0].sentence
    assert "batchgenerators" in told[0].sentence


@pytest.fixture
def fresh_trial():
    kernels_refused.cache_clear()
    training_kernels_refused.cache_clear()
    yield
    kernels_refused.cache_clear()
    training_kernels_refused.cache_clear()


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BF16, Precision.FP16])
def test_kernels_that_run_are_used(fresh_trial, caplog, precision):
    """In Triton's interpreter; see tests/conftest.py."""
    assert kernels_refused("cpu", precision) is None
    assert not caplog.text


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BF16, Precision.FP16])
def test_a_trainings_own_kernels_are_tried_too(fresh_trial, caplog, precision):
    assert training_kernels_refused("cpu", precision) is None
    assert not caplog.text


@pytest.mark.parametrize(
    "broken",
    [
        "nnbox.training.loss_kernels.write_gradient",
        "nnbox.training.reading_kernels.read_moved_by_kernels",
        "nnbox.training.mirror_kernels.mirrored_by_kernel",
    ],
)
def test_what_breaks_of_them_leaves_torch_calls(fresh_trial, monkeypatch, broken):
    def fails(*_arguments):
        raise OSError("ptxas died")

    monkeypatch.setattr(broken, fails)
    assert training_kernels_refused("cpu", Precision.FLOAT32) == "OSError: ptxas died"
    engine = choose(training_kernels_refused="OSError: ptxas died")
    assert (engine.norm, engine.kernels) == (NormKind.TRITON, False)


def test_kernels_are_tried_in_the_precision_that_is_used(fresh_trial, monkeypatch):
    good = kernels.forward

    def broken(maps, *rest):
        if maps.dtype is torch.bfloat16:
            raise RuntimeError("PassManager::run failed")
        return good(maps, *rest)

    monkeypatch.setattr(kernels, "forward", broken)
    assert kernels_refused("cpu", Precision.FLOAT32) is None
    assert kernels_refused("cpu", Precision.BF16) == "RuntimeError: PassManager::run failed"


def test_a_kernel_that_gives_no_numbers_is_not_used(fresh_trial, monkeypatch):
    good = kernels.backward

    def broken(*arguments):
        maps, scale, shift = good(*arguments)
        return maps, scale, shift.fill_(torch.nan)

    monkeypatch.setattr(kernels, "backward", broken)
    assert "nan off" in kernels_refused("cpu", Precision.FLOAT32)


def test_a_kernel_that_breaks_is_told_once_and_the_twin_is_used(fresh_trial, monkeypatch, caplog):
    def broken(*_arguments):
        raise OSError("ptxas died")

    monkeypatch.setattr("nnbox.network.kernels.forward", broken)
    assert [kernels_refused("cpu", Precision.FLOAT32) for _ in range(3)] == ["OSError: ptxas died"] * 3
    assert caplog.text.count("their twin in torch is used") == 1


def test_a_kernel_that_computes_something_else_is_not_used(fresh_trial, monkeypatch):
    original = trial._step
    monkeypatch.setattr(trial, "_step", lambda *how: [part * (1 + (NormKind.TRITON in how)) for part in original(*how)])
    assert "off" in kernels_refused("cpu", Precision.FLOAT32)


WITHOUT_COMPILER = """
import logging, os, sys
os.environ.pop("CC", None)
os.environ["PATH"] = ""
logging.basicConfig(stream=sys.stdout)
import triton
from triton.runtime.build import compile_module_from_src
from nnbox.network import kernels, trial
from nnbox.records.precision import Precision

original = kernels.forward
def with_launcher(*arguments):
    # What Triton does on a card before the first launch; without a card it gives up earlier.
    compile_module_from_src("int nothing;", "launcher")
    return original(*arguments)

kernels.forward = with_launcher
print("refused:", trial.kernels_refused("cpu", Precision.FLOAT32))
print("refused:", trial.kernels_refused("cpu", Precision.FLOAT32))
"""


def test_without_a_compiler_training_goes_on_with_the_twin_and_says_so_once(tmp_path):
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILER], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("refused: RuntimeError: Failed to find C compiler") == 2
    assert finished.stdout.count("their twin in torch is used") == 1
