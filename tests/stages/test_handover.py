"""Handing a model over: the mapping in the bundle, one archive, and a rehearsal that can fail."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from nnbox.cli import main
from nnbox.errors import UsageError
from nnbox.geometry import Grid
from nnbox.imaging.io import read_header, read_labels, read_volume
from nnbox.records.codec import read_record
from nnbox.records.handover import Handover, Rehearsal, handover_defects
from nnbox.stages.handover import hand_over
from nnbox.stages.isolation import Isolation, JobFolders, Walls, strongest_isolation
from nnbox.stages.options import HandoverOptions
from nnbox.stages.rehearsal import Conditions, label_map_defects, rehearse
from nnbox.stages.rehearsal_image import MOST_VOXELS, median_image, patch_image, rehearsed_image
from nnbox.submission.bundle import open_bundle
from nnbox.synthesize.algorithm_input import made_up_grid, write_algorithm_input
from nnbox.synthesize.files import write_metaimage, write_tiff

STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def handed_over(make_model_in, tmp_path_factory):
    """A model and the folder it was handed over to; read only."""
    folder = tmp_path_factory.mktemp("handed")
    model = make_model_in(folder, channels=("CT",))
    assert _hand_over(model, "ct", "--output", folder / "out") == 0
    return model, folder / "out"


def _run(*words):
    return main([str(word) for word in words])


def _hand_over(model, slugs="ct", *words):
    return _run("handover", "--model", model, "--input-slugs", slugs, "--output-slug", "organ", *words)


def test_the_whole_way_from_a_model_to_the_platforms_label_map(make_model, tmp_path, capsys):
    model = make_model(channels=("CT",))
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    assert _hand_over(model) == 0
    said = capsys.readouterr().out
    assert {path: path.read_bytes() for path in model.rglob("*") if path.is_file()} == before
    place = model.parent / "handover"
    assert sorted(entry.name for entry in place.iterdir()) == ["model.tar.gz", "rehearsal.json"]
    report = read_record(place / "rehearsal.json", Rehearsal)
    assert report.passed
    assert [(run.form, run.exit_code, run.shape_vox) for run in report.runs] == [
        ("inputs.json", 0, (10, 12, 14)),
        ("images", 0, (8, 8, 8)),
    ]
    assert all(run.outputs[0].startswith("images/organ/") and len(run.outputs) == 1 for run in report.runs)
    assert all(run.peak_memory_mb > 0 and run.seconds > 0 for run in report.runs)
    assert report.handover == Handover(
        task="Task90_Small", input_slugs=("ct",), output_slug="organ", label_values=(1, 2)
    )
    assert "10 x 12 x 14, the plan's median" in said
    assert "takes it" in said
    assert "7168 MB" in said


def test_the_archive_serves_as_the_platform_uses_it(handed_over, tmp_path):
    with tarfile.open(handed_over[1] / "model.tar.gz") as archive:
        archive.extractall(tmp_path / "opt")
    bundle = open_bundle(tmp_path / "opt", tmp_path)
    grid = made_up_grid(bundle.plan, (9, 10, 11), (2.0, 1.0, 1.0))
    write_algorithm_input(tmp_path / "in", bundle.plan, bundle.handover, grid, listed=True)
    assert _run("predict", "--input", tmp_path / "in", "--model", tmp_path / "opt", "--output", tmp_path / "out") == 0
    (target,) = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    image = next((tmp_path / "in/images/ct").iterdir())
    assert list(label_map_defects(target, read_header(image).grid, bundle.handover)) == []


def test_the_same_model_gives_the_same_bytes_whatever_it_was_opened_from(handed_over, tmp_path):
    out = handed_over[1]
    assert _hand_over(out, "ct", "--output", tmp_path / "again") == 0
    assert (tmp_path / "again/model.tar.gz").read_bytes() == (out / "model.tar.gz").read_bytes()


def test_the_mapping_lies_in_the_bundle_and_is_covered_by_its_digests(handed_over):
    with tarfile.open(handed_over[1] / "model.tar.gz") as archive:
        assert "handover.json" in archive.getnames()
        assert all(name.islower() and not name.startswith((".", "/")) for name in archive.getnames())
        manifest = json.load(archive.extractfile("manifest.json"))
    assert "handover.json" in manifest["files"]


def test_a_bundle_keeps_the_versions_of_what_made_it(handed_over, tmp_path):
    model, out = handed_over
    made_by = json.loads((model / "manifest.json").read_text())["versions"]
    assert open_bundle(out / "model.tar.gz", tmp_path).manifest.versions == made_by


def test_several_channels_and_pictures_are_rehearsed(make_model, tmp_path):
    model = make_model(channels=("T1", "T2"), name="mr")
    assert _hand_over(model, "t1-mri,t2-mri", "--output", tmp_path / "mr-out") == 0
    pictures = make_model(channels=("r", "g", "b"), dimension=2, name="pictures")
    assert _hand_over(pictures, "photo", "--output", tmp_path / "picture-out") == 0
    report = read_record(tmp_path / "picture-out/rehearsal.json", Rehearsal)
    assert [run.shape_vox for run in report.runs] == [(1, 12, 14), (1, 8, 8)]


def test_slugs_may_be_typed_with_spaces(make_model, capsys):
    words = ("handover", "--model", make_model(), "--input-slugs", "t1", "t2", "--output-slug", "organ")
    assert _run(*words) == 2
    assert "2 input slug(s) are named" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("slugs", "output", "words"),
    [
        ("ct,pet", "organ", "2 input slug(s) are named; the model has 1 channel(s), MRI: one slug for each"),
        ("CT", "organ", "the slug 'CT' is none: lowercase letters, digits and single hyphens are expected"),
        ("ct_1", "organ", "the slug 'ct_1' is none"),
        ("ct", "../organ", "the slug '../organ' is none"),
        ("ct", "-organ", "the slug '-organ' is none"),
        ("ct", "a" * 300, "is none"),
    ],
)
def test_slugs_that_do_not_fit_are_refused_and_nothing_is_left(make_model, capsys, slugs, output, words):
    model = make_model()
    assert _run("handover", "--model", model, "--input-slugs", slugs, "--output-slug", output) == 2
    assert words in capsys.readouterr().err
    assert not (model.parent / "handover").exists()


def test_the_same_slug_twice_and_too_few_are_refused(make_model, capsys):
    model = make_model(channels=("T1", "T2"))
    assert _hand_over(model, "mr,mr") == 2
    assert "the input slugs mr, mr are not all different" in capsys.readouterr().err
    assert _hand_over(model, "mr") == 2
    assert "1 input slug(s) are named; the model has 2 channel(s), T1, T2" in capsys.readouterr().err


def test_label_values_with_a_gap_are_refused_until_renumbering_is_asked_for(make_model, tmp_path, capsys):
    model = make_model(values=(1, 3))
    assert _hand_over(model, "mr", "--output", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "the model's label values are 0, 1, 3" in error
    assert "--renumber-labels, which writes structure 1 1 -> 1, structure 3 3 -> 2" in error
    assert _hand_over(model, "mr", "--output", tmp_path / "out", "--renumber-labels") == 0
    assert "label structure 3: the model's value 3 is written as 2" in capsys.readouterr().out
    report = read_record(tmp_path / "out/rehearsal.json", Rehearsal)
    assert report.handover.label_values == (1, 2)
    assert {value for run in report.runs for value in run.label_values} <= {0, 1, 2}


def test_more_labels_than_the_platform_reads_are_refused(make_model, tmp_path):
    plan = open_bundle(make_model(values=tuple(range(1, 65))), tmp_path).plan
    handover = Handover(task=plan.task, input_slugs=("mr",), output_slug="o", label_values=tuple(range(1, 65)))
    assert handover_defects(plan, handover) == ("the model has 64 labels; the platform reads label maps of at most 63",)


def test_a_mapping_that_does_not_fit_its_bundle_is_not_opened(handed_over, tmp_path, capsys):
    bundle = open_bundle(handed_over[1] / "model.tar.gz", tmp_path)
    mapping = json.loads((bundle.folder / "handover.json").read_text())
    for change in ({"input_slugs": ["a", "b"]}, {"output_slug": "../x"}, {"label_values": [1, 3]}, {"task": "Other"}):
        _write_with_digest(bundle.folder, mapping | change)
        assert _hand_over(bundle.folder, "mr", "--output", tmp_path / "again") == 3
        assert "the model cannot be used" in capsys.readouterr().err
    (bundle.folder / "handover.json").write_text(json.dumps(mapping | {"output_slug": "other"}))
    assert _hand_over(bundle.folder, "mr", "--output", tmp_path / "again") == 3
    assert "its digest is not the manifest's" in capsys.readouterr().err


def _write_with_digest(folder, mapping):
    from nnbox.files import digest_file

    (folder / "handover.json").write_text(json.dumps(mapping))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["handover.json"] = digest_file(folder / "handover.json")
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_no_model_no_archive(tmp_path, capsys):
    assert _hand_over(tmp_path / "absent") == 3
    assert "is not there; expected a bundle folder or its .tar.gz" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_place_of_the_model_is_no_place_for_the_handover(make_model, capsys):
    model = make_model()
    for output in (model, model.parent):
        assert _hand_over(model, "mr", "--output", output) == 2
        assert "is where the model lies, which is never changed" in capsys.readouterr().err


def test_without_an_entrypoint_file_the_module_is_rehearsed(make_model, tmp_path, monkeypatch, listener):
    """As where nnbox is installed as a package."""
    from nnbox.stages import rehearsal

    monkeypatch.setattr(rehearsal, "_entrypoint", lambda: (sys.executable, "-m", "nnbox"))
    options = HandoverOptions(model=make_model(), input_slugs=("mr",), output_slug="organ", output=tmp_path / "out")
    assert hand_over(options, listener).archive is not None


def test_too_little_memory_for_any_program_is_refused(make_model, capsys):
    assert _hand_over(make_model(), "mr", "--memory", "2") == 2
    assert "--memory 2: at least 4 (GB) is expected" in capsys.readouterr().err


def test_a_failed_rehearsal_leaves_a_report_but_no_archive(make_model, tmp_path, monkeypatch, capsys):
    """The entrypoint is replaced by one that ends wrongly: what a broken image would do."""
    from nnbox.stages import rehearsal

    broken = (sys.executable, "-c", "print('the last word'); raise SystemExit(3)")
    monkeypatch.setattr(rehearsal, "_entrypoint", lambda: broken)
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.tar.gz").write_bytes(b"an earlier one")
    assert _hand_over(make_model(), "mr", "--output", out) == 7
    captured = capsys.readouterr()
    assert "REFUSES it" in captured.out
    assert "the program ended with exit code 3" in captured.err
    assert "the last word" in captured.err
    assert sorted(entry.name for entry in out.iterdir()) == ["model.tar.gz", "rehearsal-failed.json"]
    assert (out / "model.tar.gz").read_bytes() == b"an earlier one"
    assert not read_record(out / "rehearsal-failed.json", Rehearsal).passed


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("pass", "/output is empty"),
        ("(output / 'log.txt').touch()", "/output/log.txt is not /output/images/organ/<name>.mha"),
        (
            "(output / 'images/organ').mkdir(parents=True); (output / 'images/organ/a.mha').touch(); "
            "(output / '.lock').touch()",
            "/output holds 2 files (.lock, images/organ/a.mha) instead of one",
        ),
        ("(output / 'images/organ').mkdir(parents=True); (output / 'images/organ/a.mha').touch()", "a.mha is damaged"),
        ("import signal; os.kill(os.getpid(), signal.SIGKILL)", "the program was ended by signal 9 (out of memory?)"),
    ],
)
def test_a_rehearsal_sees_what_the_platform_would_not_take(make_model, tmp_path, monkeypatch, listener, program, words):
    from nnbox.stages import rehearsal

    find = "import os, pathlib; output = pathlib.Path(os.environ.get('NNBOX_OUTPUT', '/output')); "
    monkeypatch.setattr(rehearsal, "_entrypoint", lambda: (sys.executable, "-c", find + program))
    options = HandoverOptions(model=make_model(), input_slugs=("mr",), output_slug="organ", output=tmp_path / "out")
    outcome = hand_over(options, listener)
    assert outcome.archive is None
    assert all(any(words in defect for defect in run.defects) for run in outcome.rehearsal.runs)


def _label_map(path, values, kind=np.uint8, spacing=(1.0, 1.0, 1.0)):
    labels = np.zeros((1, 2, 3, 4), kind)
    labels.flat[: len(values)] = values
    grid = Grid(shape_vox=(2, 3, 4), spacing_mm=spacing, origin_xyz_mm=(0.0,) * 3, direction_xyz=STRAIGHT)
    write_metaimage(path, labels, grid)
    return path


def test_each_rule_for_a_label_map_has_its_words(tmp_path):
    handover = Handover(task="t", input_slugs=("ct",), output_slug="organ", label_values=(1, 2))
    good = _label_map(tmp_path / "good.mha", [0, 1, 2])
    grid = read_header(good).grid

    def words(file):
        return " ".join(label_map_defects(file, grid, handover))

    assert words(good) == ""
    assert "it holds the label values [3]; expected only 0 to 2" in words(_label_map(tmp_path / "3.mha", [3]))
    assert "its voxels are int16" in words(_label_map(tmp_path / "16.mha", [1], np.int16))
    assert "its grid is not the image's" in words(_label_map(tmp_path / "g.mha", [1], spacing=(1.0, 1.0, 1.01)))
    (tmp_path / "cut.mha").write_bytes(good.read_bytes()[:-5])
    assert "is damaged" in words(tmp_path / "cut.mha")
    header = good.read_bytes().split(b"ElementDataFile")[0].replace(b"CompressedData = True", b"CompressedData = False")
    lines = [line for line in header.splitlines() if not line.startswith(b"CompressedDataSize")]
    voxels = read_labels(good)[0].astype(np.uint8).tobytes()
    (tmp_path / "plain.mha").write_bytes(b"\n".join([*lines, b"ElementDataFile = LOCAL", voxels]))
    assert words(tmp_path / "plain.mha") == "plain.mha is not compressed"


def test_a_job_is_started_under_the_limits_that_are_told(tmp_path):
    isolation = strongest_isolation(tmp_path, 5000)
    folders = JobFolders(tmp_path / "job")
    folders.make()
    asked = (
        "import json, os, resource, socket; print(json.dumps([resource.getrlimit(resource.RLIMIT_DATA)[0], "
        "os.environ['GRAND_CHALLENGE_COMPONENT_MAX_MEMORY_MB'], os.path.isdir('/opt/ml/model'), "
        "[name for _, name in socket.if_nameindex()], os.environ.get('NNBOX_MODEL'), os.getuid(), "
        "os.listdir(os.environ.get('TMPDIR', '/tmp'))]))"
    )
    command = isolation.command(folders, (sys.executable, "-c", asked))
    ran = subprocess.run(command, env=isolation.environment(folders), capture_output=True, text=True, check=True)
    limit, variable, has_model, interfaces, named, user, temporary = json.loads(ran.stdout)
    words = isolation.words()
    assert (limit, variable) == (5000 * 1024 * 1024, "5000")
    assert words["memory"].startswith("5000 MB, by RLIMIT_DATA")
    assert temporary == []
    assert (words["network"] == "none (its own namespace)") == (isolation.walls is not Walls.NONE)
    if isolation.walls is not Walls.NONE:
        assert interfaces == ["lo"]
    assert (words["model"] == "/opt/ml/model") == (isolation.walls is Walls.ROOT)
    if isolation.walls is Walls.ROOT:
        assert has_model
        assert named is None
    else:
        assert named == str(folders.model)
    if isolation.drops_root:
        assert user == 65534


def test_memory_beyond_the_limit_is_not_given(tmp_path):
    isolation = Isolation(walls=Walls.NONE, drops_root=False, memory_mb=300)
    folders = JobFolders(tmp_path / "job")
    folders.make()
    for megabytes, code in ((10, 0), (1000, 1)):
        command = isolation.command(folders, (sys.executable, "-c", f"bytearray({megabytes} << 20)"))
        assert (
            subprocess.run(command, check=False, env=isolation.environment(folders), capture_output=True).returncode
            == code
        )


def test_without_any_wall_it_is_rehearsed_too_and_said_what_was_not_imposed(
    make_model, tmp_path, monkeypatch, listener
):
    from nnbox.stages import isolation

    monkeypatch.setattr(isolation.shutil, "which", lambda name: None)
    monkeypatch.setattr(isolation.socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0")])
    options = HandoverOptions(model=make_model(), input_slugs=("mr",), output_slug="organ", output=tmp_path / "out")
    outcome = hand_over(options, listener)
    assert outcome.archive is not None
    assert outcome.rehearsal.limits["network"].startswith("NOT taken away")
    assert "NNBOX_MODEL" in outcome.rehearsal.limits["model"]
    monkeypatch.setattr(isolation.socket, "if_nameindex", lambda: [(1, "lo")])
    assert Isolation(walls=Walls.NONE, drops_root=False, memory_mb=1).words()["network"] == "none (there is none here)"
    if os.getuid() == 0:
        assert "ROOT" in outcome.rehearsal.limits["user"]


def test_a_rehearsal_under_too_little_memory_fails_in_words(handed_over, tmp_path, listener):
    archive = handed_over[1] / "model.tar.gz"
    bundle = open_bundle(archive, tmp_path)
    (tmp_path / "scratch").mkdir()
    report = rehearse(archive, bundle, tmp_path / "scratch", _Tight(memory_gb=8, full_size=False), listener)
    assert not report.passed
    assert all(run.defects and run.exit_code != 0 for run in report.runs)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Tight(Conditions):
    @property
    def memory_mb(self):
        return 60


def test_the_image_has_the_median_size_in_the_files_order(make_model, tmp_path):
    bundle = open_bundle(make_model(axis_order=(2, 0, 1), median=(10, 12, 14)), tmp_path)
    found = median_image(bundle.plan, bundle.selection)
    # Working axis i is source axis axis_order[i]: x is the first working axis here.
    assert (found.shape_vox, found.spacing_mm) == ((12, 14, 10), (1.0, 1.5, 2.0))
    assert rehearsed_image(bundle.plan, bundle.selection, full_size=False) == found
    assert patch_image(bundle.plan, bundle.selection).shape_vox == (8, 8, 8)


def test_a_large_image_is_cut_along_all_axes_alike_but_not_below_a_patch(make_model, tmp_path):
    bundle = open_bundle(make_model(median=(9, 800, 1200)), tmp_path)
    cut = rehearsed_image(bundle.plan, bundle.selection, full_size=False).shape_vox
    assert cut[0] == 8
    assert cut[2] / cut[1] == pytest.approx(1.5, abs=0.01)
    assert np.prod(cut) <= MOST_VOXELS * 8 / (9 * (cut[1] / 800))
    assert rehearsed_image(bundle.plan, bundle.selection, full_size=True).shape_vox == (9, 800, 1200)


def test_a_2d_model_of_volumes_gets_a_few_slices_along_the_axis_its_plan_does_not_size(make_model, tmp_path):
    flat = open_bundle(make_model(dimension=2, name="flat"), tmp_path)
    volumes = open_bundle(make_model(axis_order=(1, 0, 2)), tmp_path).plan
    plan = dataclasses.replace(volumes, configurations=flat.plan.configurations)
    assert rehearsed_image(plan, flat.selection, full_size=False).shape_vox == (12, 8, 14)


def test_the_made_up_files_are_what_they_say(tmp_path):
    rng = np.random.default_rng(0)
    grid = Grid(
        shape_vox=(3, 4, 5),
        spacing_mm=(3.0, 2.0, 1.5),
        origin_xyz_mm=(1.0, -2.0, 3.5),
        direction_xyz=(1.0, 0.0, 0.0, 0.0, 0.6, -0.8, 0.0, 0.8, 0.6),
    )
    volume = rng.integers(-500, 500, (1, 3, 4, 5)).astype(np.int16)
    write_metaimage(tmp_path / "v.mha", volume, grid)
    found, found_grid = read_volume(tmp_path / "v.mha")
    assert np.array_equal(found, volume)
    assert found_grid == grid
    for channels in (1, 3):
        picture = rng.integers(0, 255, (channels, 5, 7)).astype(np.uint8)
        write_tiff(tmp_path / "p.tif", picture)
        found, _ = read_volume(tmp_path / "p.tif")
        assert np.array_equal(found[:, 0], picture)


def test_an_empty_list_of_slugs_is_refused(make_model):
    options = HandoverOptions(model=make_model(), input_slugs=(), output_slug="organ")
    with pytest.raises(UsageError, match=r"0 input slug\(s\) are named"):
        hand_over(options, lambda *_: None)


def test_an_output_that_cannot_be_written_is_told(make_model, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert _hand_over(make_model(), "mr", "--output", tmp_path / "file") == 5
    assert "cannot be written" in capsys.readouterr().err
