"""The GPU measurements run from end to end on a CPU with tiny sizes, and say what they did not measure."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import gpu_table
import pytest
import table
from gpu_rows import rows
from peer_network import RestatedStep, give_weights, level_weights, maps_of_levels, same_gradients
from step_plans import HIPPOCAMPUS, LARGE, batches, configuration, job, tiny, topology

from nnbox.network.counting import parameter_count
from nnbox.network.unet import UNet
from nnbox.training.learner import Learner


@pytest.mark.slow
def test_every_row_runs_on_a_cpu_with_tiny_sizes(benchmarks, tmp_path):
    command = [sys.executable, benchmarks / "gpu.py", "--device", "cpu", "--quick", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.json")
    document = json.loads(path.read_text())
    entries = {entry["name"]: entry for entry in document["rows"]}
    assert set(entries) == {row.name for row in rows()}
    for entry in entries.values():
        assert not entry["not_measured"], entry
        assert min(entry["ours_seconds"]) > 0
        assert entry["card"]["measured_gb_per_second"] > 0
    assert "(tiny sizes, not judged)" in done.stdout
    assert "(met)" not in done.stdout
    assert not list(table.RESULTS.glob("*none-cpu*"))


def test_a_row_that_no_longer_fits_is_left_out_and_says_so(benchmarks):
    command = [sys.executable, benchmarks / "gpu.py", "--device", "cpu", "--quick", "--minutes", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("s were left, it may need") == 2 * len(rows())


def test_without_a_card_it_says_what_to_do(benchmarks):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, benchmarks / "gpu.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert done.returncode == 1
    assert "What to do" in done.stderr


def test_the_readme_shows_every_row_measured_or_not():
    text = table.README.read_text()
    assert gpu_table.with_tables(text, rows()) == text
    for row in rows():
        assert f"`{row.name}`" in text


def test_the_quality_table_shows_mean_and_spread_or_that_nothing_was_measured():
    summary = {"count": 3, "mean": [0.9, 0.8], "sd": [0.01, None]}
    document = {
        "system": "peer",
        "device": "a-card",
        "measured": "2026-01-02T03:04:05",
        "summary": {"seeds of fold 0": summary, "folds with seed 0": summary},
    }
    lines = gpu_table.quality_markdown([document]).splitlines()
    assert [line.count("not measured") for line in lines[2:]] == [2, 2, 0, 0]
    assert "| peer | seeds of fold 0 (3) | 0.9000 ± 0.0100 | 0.8000 | a-card 2026-01-02 |" in lines


def test_a_row_without_a_measurement_has_no_figure():
    (row, *_) = rows()
    line = gpu_table.markdown([row], []).splitlines()[-1]
    assert line.count("not measured") == 2
    assert "(met)" not in line


@pytest.mark.parametrize("plan", [LARGE, HIPPOCAMPUS])
def test_the_plans_are_the_published_ones(plan, reference):
    published = json.loads((reference / "plans_2019.json").read_text())[plan.task]["3d_fullres"]
    own = configuration(plan)
    assert list(own.patch_size) == published["patch_size"]
    assert own.batch_size == published["batch_size"]
    assert list(own.num_pool_per_axis) == published["num_pool_per_axis"]
    # 30 features, doubled, capped at 320. Source: release.
    assert own.topology.features == (30, 60, 120, 240, 320, 320)[: plan.pools + 1]


def test_the_restated_step_computes_our_loss_and_gradients_from_our_weights(tmp_path):
    plan = tiny(HIPPOCAMPUS)
    learner = Learner(job(plan, tmp_path, device="cpu"))
    restated = RestatedStep(topology(plan), "cpu", batch_dice=plan.batch_dice, deep=False, compiled=False)
    give_weights(learner.network, restated.network)
    import torch

    (batch,) = batches(plan, 1)
    maps = maps_of_levels(torch.from_numpy(batch.labels), topology(plan), deep=False)
    wanted = restated.loss(torch.from_numpy(batch.image), maps)
    wanted.backward()
    found = learner.gradients(batch)
    assert float(found) == pytest.approx(float(wanted.detach()), abs=1e-5)
    assert same_gradients(learner.network, restated.network) < 1e-3


def test_the_restated_network_has_the_peers_parameters():
    shape = topology(HIPPOCAMPUS)
    restated = RestatedStep(shape, "cpu", batch_dice=False, deep=True, compiled=False).network
    # Beyond ours: biases of transposed convolutions and of the head, and a head with bias for each lower decoder level.
    more = sum(shape.features[:-1]) + shape.classes
    more += sum(shape.classes * (features + 1) for features in shape.features[1:-1])
    assert sum(parameter.numel() for parameter in restated.parameters()) == parameter_count(shape) + more
    assert sum(parameter.numel() for parameter in UNet(shape).parameters()) == parameter_count(shape)
    assert level_weights(3) == pytest.approx([2 / 3, 1 / 3, 0])


def test_deep_supervision_sees_the_labels_at_every_level(tmp_path):
    import torch

    plan = tiny(LARGE)
    labels = torch.from_numpy(batches(plan, 1)[0].labels)
    maps = maps_of_levels(labels, topology(plan), deep=True)
    assert [tuple(one.shape[2:]) for one in maps] == [(16, 16, 16), (8, 8, 8)]
    assert torch.equal(maps[0][:, 0], labels)
