"""Predicting as an algorithm on grand-challenge.org does: one case in, one label map out, nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from nnbox import verbs
from nnbox.cli import main
from nnbox.errors import UsageError
from nnbox.geometry import Grid
from nnbox.imaging.io import read_header, read_image, read_labels
from nnbox.imaging.label_values import to_consecutive
from nnbox.network.device import choose_device
from nnbox.records.handover import Handover
from nnbox.stages.ensemble import Ensemble, PredictionSettings
from nnbox.submission.bundle import open_bundle, write_bundle
from nnbox.synthesize.algorithm_input import made_up_grid, write_algorithm_input
from nnbox.synthesize.files import write_metaimage

_REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def make_mapped(make_model, tmp_path):
    """A model that carries a mapping."""

    def make(slugs=("ct",), output="organ", **kind):
        bundle = open_bundle(make_model(**kind), tmp_path)
        values = tuple(range(1, len(bundle.plan.labels) + 1))
        handover = Handover(task=bundle.plan.task, input_slugs=slugs, output_slug=output, label_values=values)
        write_bundle(tmp_path / "mapped", bundle.plan, bundle.selection, bundle.weights, handover=handover)
        return open_bundle(tmp_path / "mapped", tmp_path)

    return make


def _job(root, bundle, *, listed=True, shape=(9, 11, 13), spacing=(2.5, 1.0, 1.5)):
    grid = made_up_grid(bundle.plan, shape, spacing)
    write_algorithm_input(root, bundle.plan, bundle.handover, grid, listed=listed)
    return root


def _predict(root, model, output, *words):
    folder = model if isinstance(model, Path) else model.folder
    given = ("predict", "--input", root, "--model", folder, "--output", output, "--device", "cpu", *words)
    return main([str(word) for word in given])


def _files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _expected(bundle, images):
    """The label map of these images by the networks themselves, original label values."""
    image, grid = read_image(images)
    ensemble = Ensemble(bundle, choose_device("cpu"), PredictionSettings())
    return ensemble.predict(image, grid), grid


@pytest.mark.parametrize("listed", [True, False])
def test_one_label_map_on_the_images_grid_and_nothing_else(make_mapped, tmp_path, listed):
    bundle = make_mapped()
    root = _job(tmp_path / "input", bundle, listed=listed)
    before = _files(root)
    assert _predict(root, bundle, tmp_path / "output") == 0
    image = next((root / "images/ct").iterdir())
    assert _files(tmp_path / "output") == [f"images/organ/{image.stem}.mha"]
    target = tmp_path / "output/images/organ" / f"{image.stem}.mha"
    assert read_header(target).grid == read_header(image).grid
    assert b"CompressedData = True" in target.read_bytes()[:1000]
    assert _files(root) == before


def test_the_label_map_is_what_the_networks_say(make_mapped, tmp_path):
    bundle = make_mapped()
    root = _job(tmp_path / "input", bundle)
    assert _predict(root, bundle, tmp_path / "output") == 0
    wanted, grid = _expected(bundle, list((root / "images/ct").iterdir()))
    found, found_grid = read_labels(next((tmp_path / "output/images/organ").iterdir()))
    assert len(np.unique(wanted)) > 1
    assert np.array_equal(found, wanted)
    assert found_grid == grid


def test_values_with_a_gap_are_written_without_one(make_mapped, tmp_path):
    bundle = make_mapped(values=(2, 700))
    root = _job(tmp_path / "input", bundle)
    assert _predict(root, bundle, tmp_path / "output") == 0
    wanted, _ = _expected(bundle, list((root / "images/ct").iterdir()))
    target = next((tmp_path / "output/images/organ").iterdir())
    assert np.array_equal(read_labels(target)[0], to_consecutive(wanted, bundle.plan.labels))
    assert read_header(target).pixel_type == "uint8"


def test_several_slugs_are_the_channels_in_the_order_of_the_mapping(make_mapped, tmp_path):
    bundle = make_mapped(slugs=("t2", "adc", "dwi"), channels=("T2", "ADC", "DWI"))
    root = _job(tmp_path / "input", bundle)
    assert _predict(root, bundle, tmp_path / "output") == 0
    files = [next((root / "images" / slug).iterdir()) for slug in ("t2", "adc", "dwi")]
    target = tmp_path / "output/images/organ" / f"{files[0].stem}.mha"
    found = read_labels(target)[0]
    assert np.array_equal(found, _expected(bundle, files)[0])
    assert not np.array_equal(found, _expected(bundle, files[::-1])[0])


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("slugs", [("photo",), ("red", "green", "blue")])
def test_a_2d_model_takes_pictures_with_one_slug_for_all_colours_or_one_each(make_mapped, tmp_path, slugs, listed):
    bundle = make_mapped(slugs=slugs, channels=("r", "g", "b"), dimension=2)
    root = _job(tmp_path / "input", bundle, listed=listed, shape=(1, 20, 17), spacing=(1.0, 0.5, 0.5))
    assert _predict(root, bundle, tmp_path / "output") == 0
    images = [next((root / "images" / slug).iterdir()) for slug in slugs]
    assert images[0].suffix == (".mha" if listed else ".tif")
    target = tmp_path / "output/images/organ" / f"{images[0].stem}.mha"
    assert read_header(target).grid == read_header(images[0]).grid
    assert np.array_equal(read_labels(target)[0], _expected(bundle, images)[0])


def test_a_nifti_image_gives_a_metaimage(make_mapped, tmp_path, tiny_source):
    bundle = make_mapped()
    source = next((tiny_source / "imagesTs").iterdir())
    (tmp_path / "input/images/ct").mkdir(parents=True)
    shutil.copy(source, tmp_path / "input/images/ct/scan.v2.nii.gz")
    assert _predict(tmp_path / "input", bundle, tmp_path / "output") == 0
    assert _files(tmp_path / "output") == ["images/organ/scan.v2.mha"]
    found = read_header(tmp_path / "output/images/organ/scan.v2.mha").grid
    assert found.shape_vox == read_header(source).grid.shape_vox
    assert np.allclose(found.direction_xyz, read_header(source).grid.direction_xyz)


def test_a_model_without_a_mapping_is_refused_with_the_line_that_helps(make_model, make_mapped, tmp_path, capsys):
    root = _job(tmp_path / "input", make_mapped())
    model = make_model(name="plain", channels=("T1", "T2"))
    assert _predict(root, model, tmp_path / "output") == 2
    error = capsys.readouterr().err
    assert "does not say which input is which channel" in error
    assert f"nnbox handover --model {model} --input-slugs SLUG-OF-T1,SLUG-OF-T2 --output-slug SLUG" in error
    assert _files(tmp_path / "output") == []


def test_other_slugs_than_the_models_are_refused_by_name(make_mapped, tmp_path, capsys):
    bundle = make_mapped()
    root = _job(tmp_path / "input", bundle)
    (root / "images/ct").rename(root / "images/mr")
    assert _predict(root, bundle, tmp_path / "output") == 3
    assert "the folder of the input 'ct' is not there" in capsys.readouterr().err
    (root / "inputs.json").unlink()
    assert _predict(root, bundle, tmp_path / "output") == 3
    assert "there is no input 'ct' in images/; there is mr" in capsys.readouterr().err
    assert _files(tmp_path / "output") == []


def test_two_images_for_a_slug_are_refused(make_mapped, tmp_path, capsys):
    bundle = make_mapped()
    root = _job(tmp_path / "input", bundle)
    image = next((root / "images/ct").iterdir())
    shutil.copy(image, image.with_name("again.mha"))
    assert _predict(root, bundle, tmp_path / "output") == 3
    assert "holds 2 files" in capsys.readouterr().err


def test_file_names_that_are_no_utf8_are_told(make_mapped, tmp_path, capsys):
    bundle = make_mapped()
    root = _job(tmp_path / "input", bundle)
    folder = root / "images/ct"
    image = next(folder.iterdir())
    image.rename(os.fsdecode(os.fsencode(folder) + b"/\xff.mha"))
    assert _predict(root, bundle, tmp_path / "output") == 3
    assert "its name is no valid UTF-8" in capsys.readouterr().err
    (folder / "b.mha").touch()
    assert _predict(root, bundle, tmp_path / "output") == 3
    assert r"holds 2 files (b.mha, \xff.mha)" in capsys.readouterr().err


def test_a_damaged_image_is_refused_without_advice_for_data_sets(make_mapped, tmp_path, capsys):
    bundle = make_mapped()
    root = _job(tmp_path / "input", bundle)
    image = next((root / "images/ct").iterdir())
    image.write_bytes(image.read_bytes()[:-200])
    assert _predict(root, bundle, tmp_path / "output") == 3
    error = capsys.readouterr().err
    assert image.name in error
    assert "--exclude" not in error
    assert _files(tmp_path / "output") == []


def test_the_one_case_cannot_be_left_out(make_mapped, tmp_path, capsys):
    bundle = make_mapped()
    assert _predict(_job(tmp_path / "input", bundle), bundle, tmp_path / "output", "--exclude", "x") == 2
    assert "--exclude x: the input of an algorithm is one case" in capsys.readouterr().err


def test_channels_on_different_grids_are_refused(make_mapped, tmp_path, capsys):
    bundle = make_mapped(slugs=("t1", "t2"), channels=("T1", "T2"))
    root = _job(tmp_path / "input", bundle)
    image = next((root / "images/t2").iterdir())
    other = Grid(
        shape_vox=(9, 11, 13),
        spacing_mm=(1.0,) * 3,
        origin_xyz_mm=(0.0,) * 3,
        direction_xyz=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )
    write_metaimage(image, np.ones((1, 9, 11, 13), np.int16), other)
    assert _predict(root, bundle, tmp_path / "output") == 3
    assert "moves the image's corners" in capsys.readouterr().err


def test_an_image_of_another_dimension_is_refused(make_mapped, tmp_path, capsys):
    bundle = make_mapped()
    pictures = make_mapped(dimension=2)
    root = _job(tmp_path / "input", pictures, shape=(1, 20, 17))
    model = make_mapped()
    assert bundle.plan == model.plan
    assert _predict(root, model, tmp_path / "output") == 3
    assert "the image is 2D, the model is 3D" in capsys.readouterr().err


def test_an_image_with_too_many_channels_is_refused(make_mapped, tmp_path, capsys):
    colours = make_mapped(slugs=("photo",), channels=("r", "g", "b"), dimension=2)
    root = _job(tmp_path / "input", colours, shape=(1, 20, 17))
    grey = make_mapped(slugs=("photo",), dimension=2)
    assert _predict(root, grey, tmp_path / "output") == 3
    assert "it has 3 channel(s); expected 1 channel(s), as the model says" in capsys.readouterr().err


def test_an_output_that_holds_another_case_is_refused_and_the_same_case_is_done_again(make_mapped, tmp_path, capsys):
    bundle = make_mapped()
    root = _job(tmp_path / "input", bundle)
    (tmp_path / "output/images/organ").mkdir(parents=True)
    (tmp_path / "output/images/organ/.part-0-killed.mha").write_bytes(b"")
    assert _predict(root, bundle, tmp_path / "output") == 0
    first = {name: (tmp_path / "output" / name).read_bytes() for name in _files(tmp_path / "output")}
    assert len(first) == 1
    assert _predict(root, bundle, tmp_path / "output") == 0
    assert {name: (tmp_path / "output" / name).read_bytes() for name in _files(tmp_path / "output")} == first
    image = next((root / "images/ct").iterdir())
    image.rename(image.with_name("another.mha"))
    assert _predict(root, bundle, tmp_path / "output") == 2
    assert "the platform takes one image from it" in capsys.readouterr().err


def test_an_archive_serves_as_the_model(make_mapped, tmp_path):
    from nnbox.submission.bundle import pack_bundle

    bundle = make_mapped()
    root = _job(tmp_path / "input", bundle)
    pack_bundle(bundle.folder, tmp_path / "archives/model.tar.gz")
    assert _predict(root, tmp_path / "archives", tmp_path / "output") == 0
    assert len(_files(tmp_path / "output")) == 1


def test_without_any_temporary_folder_the_output_lends_one_for_a_while(make_mapped, tmp_path, monkeypatch):
    bundle = make_mapped()
    root = _job(tmp_path / "input", bundle)

    def nowhere():
        if tempfile.tempdir is None:
            raise FileNotFoundError
        return tempfile.tempdir

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    assert _predict(root, bundle, tmp_path / "output") == 0
    assert len(_files(tmp_path / "output")) == 1
    assert sorted(entry.name for entry in (tmp_path / "output").iterdir()) == ["images"]
    assert tempfile.tempdir is None


def test_without_a_verb_the_platforms_input_and_a_model_mean_predict(make_mapped, tmp_path, monkeypatch, capsys):
    bundle = make_mapped()
    root = _job(tmp_path / "input", bundle)
    monkeypatch.setenv("NNBOX_INPUT", str(root))
    monkeypatch.setenv("NNBOX_MODEL", str(bundle.folder))
    monkeypatch.setenv("NNBOX_OUTPUT", str(tmp_path / "output"))
    assert main([]) == 0
    assert len(_files(tmp_path / "output")) == 1
    assert "predict" in capsys.readouterr().out


def test_the_platform_collects_output_beside_input_whether_or_not_it_is_a_mount(make_mapped, tmp_path, monkeypatch):
    bundle = make_mapped()
    root = _job(tmp_path / "input", bundle)
    monkeypatch.setenv("NNBOX_MODEL", str(bundle.folder))
    # What the entrypoint chooses where /output is no mount.
    assert verbs.decide(root, str(root / "nnbox")) == ["predict", "--output", str(tmp_path / "output")]
    assert verbs.decide(root, str(tmp_path / "elsewhere")) == ["predict"]


def test_without_a_verb_and_without_a_model_it_says_so(make_mapped, tmp_path):
    root = _job(tmp_path / "input", make_mapped())
    with pytest.raises(UsageError, match="and no model"):
        verbs.decide(root, None)


def test_nothing_but_warnings_goes_to_standard_error(make_mapped, tmp_path):
    bundle = make_mapped()
    root = _job(tmp_path / "input", bundle)
    words = ["predict", "--input", root, "--model", bundle.folder, "--output", tmp_path / "output", "--device", "cpu"]
    command = [sys.executable, _REPOSITORY / "entrypoint.py", *words]
    ran = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "the platform's output" in ran.stdout
