"""What was done to one case, told and drawn; and the data section of ``inspect``."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from skimage import io

from nnbox.cli import main
from nnbox.errors import DataError, UsageError
from nnbox.records.codec import read_record
from nnbox.records.plan import Folds
from nnbox.records.prepared import PreparedCase
from nnbox.records.results import Selection
from nnbox.report.ranking import final_dice
from nnbox.stages.case_images import placement_in, read_case
from nnbox.stages.explain import explain, tile_count
from nnbox.stages.run_files import read_run
from nnbox.stages.workspace import Workspace


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run of the test's own."""
    target = tmp_path / "run"
    shutil.copytree(finished[0], target, ignore=shutil.ignore_patterns("report.html"))
    return target


def _said(explanation):
    return " ".join(f"{step}: {words}" for step, words in explanation.steps)


def test_a_validation_case_is_explained_by_the_fold_that_did_not_see_it(run):
    folds, selection = read_record(run / "folds.json", Folds), read_record(run / "selection.json", Selection)
    for fold, cases in enumerate(folds.validation):
        found = explain(run, cases[0], None, None)
        assert f"networks of fold {fold} have not seen it" in _said(found)
        for member in selection.members:
            assert f"{member}: predict" in _said(found)
        assert found.has_reference


def test_the_dice_that_is_told_is_that_of_the_records(run):
    files = read_run(Workspace(run))
    names = [candidate.name for candidate in files.crossvalidation.candidates]
    chosen = names.index(files.selection.candidate)
    finals = final_dice(files.crossvalidation, files.selection, chosen)
    for index, case in enumerate(files.crossvalidation.candidates[chosen].cases):
        told = dict(explain(run, case.case, None, None).steps)["Dice"]
        for label, final in zip(files.plan.labels, finals[index], strict=True):
            value = "undefined" if final.value is None else f"{final.value:.4f}"
            assert f"{label.name} {value}" in told


def test_where_a_case_lies_is_what_preprocessing_found(run, finished):
    files = read_run(Workspace(run))
    for case in files.dataset.cases[:2]:
        read = read_case(files.plan, finished[1].input, case)
        for configuration in files.plan.configurations:
            stored = run / "prepared" / configuration.store / f"{case.name}.json"
            assert placement_in(files.plan, read, configuration) == read_record(stored, PreparedCase).placement


def test_tiles_are_counted_as_they_are_predicted(run, finished):
    from nnbox.inference.tiles import tile_corners

    files = read_run(Workspace(run))
    read = read_case(files.plan, finished[1].input, files.dataset.cases[0])
    for item in files.plan.configurations:
        place = placement_in(files.plan, read, item)
        patch = (1, *item.patch_size) if len(item.patch_size) == 2 else item.patch_size
        padded = tuple(max(pair) for pair in zip(place.prepared_shape_vox, patch, strict=True))
        assert tile_count(item, place)[0] == len(tile_corners(padded, patch))


def test_a_test_case_is_explained_from_its_prediction(run, finished):
    name = sorted(path.name.partition(".")[0] for path in (finished[1].input / "imagesTs").iterdir())[0]
    found = explain(run, name, None, None)
    assert not found.has_reference
    assert "test image without a reference" in _said(found)
    assert re.search(r"networks of folds 0, 1, 2, 3, 4", _said(found))
    assert found.picture == run / "explained" / f"{name}.png"
    assert io.imread(found.picture).std() > 1


def test_the_verb_prints_the_steps_and_writes_the_picture(run, tmp_path, capsys):
    target = tmp_path / "pictures" / "one.png"
    words = ("explain", "smoke_001", "--output", str(run), "--picture", str(target))
    assert main(list(words)) == 0
    out = capsys.readouterr().out
    for step in ("crop", "intensities", "resample", "combine", "post-processing", "Dice"):
        assert step in out
    assert "yellow: outline of the reference" in out
    pixels = io.imread(target)
    assert pixels.ndim == 3
    assert np.ptp(pixels) > 100


def test_an_unknown_case_and_a_missing_data_set_are_told(run, tmp_path, capsys):
    with pytest.raises(UsageError, match=r"has no case smoke_999.*smoke_001"):
        explain(run, "smoke_999", None, None)
    with pytest.raises(DataError, match="--input"):
        explain(run, "smoke_001", tmp_path / "gone", None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="smoke_001"):
        explain(run, "smoke_001", tmp_path / "empty", None)


def test_a_run_that_has_chosen_nothing_yet_is_told(run):
    (run / "selection.json").unlink()
    with pytest.raises(UsageError, match="selected no model yet"):
        explain(run, "smoke_001", None, None)


def test_inspect_writes_the_data_section_alone(tiny, tmp_path, capsys):
    page = tmp_path / "data.html"
    assert main(["inspect", "--input", str(tiny), "--workers", "0", "--report", str(page)]) == 0
    text = page.read_text()
    assert str(page) in capsys.readouterr().out
    assert 'id="data"' in text
    assert 'id="training"' not in text
    assert "data-from" not in text, "no file is left that a number could name"
    assert re.search(r'<data value="5">5</data>\s*training cases', text)


def test_inspect_puts_every_problem_into_the_page_too(tiny, tmp_path, capsys):
    page = tmp_path / "data.html"
    broken = tiny / "labelsTr" / "smoke_002.nii.gz"
    broken.write_bytes(broken.read_bytes()[:40])
    assert main(["inspect", "--input", str(tiny), "--workers", "0", "--report", str(page)]) == 3
    text = page.read_text()
    assert "case smoke_002" in text
    assert "flag problem" in text
    assert "smoke_002" in capsys.readouterr().err


def test_several_tasks_have_a_page_each(tiny, tmp_path):
    shutil.copytree(tiny, tiny.parent / "Task02_Other")
    page = tmp_path / "data.html"
    assert main(["inspect", "--input", str(tiny.parent), "--workers", "0", "--report", str(page)]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["data-Task01_Tiny.html", "data-Task02_Other.html"]


def test_a_page_that_cannot_be_written_is_told(tiny, capsys):
    assert main(["inspect", "--input", str(tiny), "--workers", "0", "--report", "/proc/no/data.html"]) == 5
    assert "--report" in capsys.readouterr().err
