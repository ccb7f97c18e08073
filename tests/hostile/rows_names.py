"""Names, links and layouts that do not fit together, and what dataset.json can say that is wrong."""

from __future__ import annotations

import os
import shutil

from defect_row import INSPECT, PREDICT, TRAIN, Row
from rows_common import row

_CASE = "case beta"
_OUT = "--exclude beta"


def _loop(data):
    path = data.image()
    path.unlink()
    path.symlink_to(path.name)


def _folder_loop(data):
    shutil.rmtree(data.root / "imagesTr")
    (data.root / "imagesTr").symlink_to("imagesTr")


def _json_link(target):
    def spoil(data):
        data.json.unlink()
        data.json.symlink_to(target)

    return spoil


def _pipe(data):
    data.json.unlink()
    os.mkfifo(data.json)


def _image_pipe(data):
    data.image().unlink()
    os.mkfifo(data.image())


def _inner_loop(data):
    (data.root / "more").symlink_to(".")


def _renamed(new):
    def spoil(data):
        data.image().rename(data.image(new))
        data.label().rename(data.label(new))
        if data.layout == "decathlon":
            text = data.json.read_text()
            data.json.write_text(text.replace("/beta.", f"/{new}."))

    return spoil


def _twice(data):
    shutil.copy(data.image(), data.image().with_name("beta.nrrd"))


def _listed_twice(data):
    entries = data.usual()["training"]
    data.describe(training=[*entries, entries[1]])


def _shared_name(data):
    shutil.copy(data.image(), data.root / "imagesTs")


def _stray(data):
    shutil.copy(data.image(), data.root / "scan.nii.gz")


def _platform_too(data):
    (data.root / "inputs.json").write_text("[]")


def _described(**changes):
    def spoil(data):
        data.describe(**changes)

    return spoil


def _json_text(text):
    def spoil(data):
        data.json.write_bytes(text if isinstance(text, bytes) else text.encode())

    return spoil


def _sparse(data):
    with data.json.open("r+b") as stream:
        stream.truncate(1 << 30)


def _no_tests(data):
    shutil.rmtree(data.root / "imagesTs")
    if data.layout != "bare":
        data.describe(**({"test": [], "numTest": 0} if data.layout == "decathlon" else {}))


LAYOUTS: tuple[Row, ...] = (
    row("an image links to itself", "decathlon", ".nii.gz", _loop, INSPECT, 3, "beta", _OUT),
    row("an image links to itself", "nnunet_v2", ".nii.gz", _loop, TRAIN, 3, _CASE, _OUT),
    row("an image links to itself", "flat", ".nii.gz", _loop, PREDICT, 3, _CASE, _OUT),
    row("imagesTr links to itself", "bare", ".nii.gz", _folder_loop, INSPECT, 3, "alpha", "beta", "gamma"),
    row("dataset.json links to itself", "decathlon", ".nii.gz", _json_link("dataset.json"), INSPECT, 3, "dataset.json"),
    row("dataset.json links to nothing", "nnunet_v2", ".nii.gz", _json_link("gone.json"), INSPECT, 3, "dataset.json"),
    row("dataset.json is a named pipe", "decathlon", ".nii.gz", _pipe, INSPECT, 3, "dataset.json"),
    row("an image is a named pipe", "nnunet_v2", ".nii.gz", _image_pipe, INSPECT, 3, _CASE, _OUT),
    row("a folder links to its parent", "decathlon", ".nii.gz", _inner_loop, TRAIN, 0, "plan"),
    row("unicode in a name", "decathlon", ".nii.gz", _renamed("Müller Ωλ 患者"), INSPECT, 0, "labelled cases"),
    row("unicode in a name", "nnunet_v2", ".nrrd", _renamed("Müller Ωλ 患者"), TRAIN, 0, "plan"),
    row("blanks and quotes in a name", "bare", ".mha", _renamed('be ta\'s "scan"'), INSPECT, 0, "labelled cases"),
    row(
        "a line break in a name",
        "nnunet_v2",
        ".nii.gz",
        _renamed("be\nta"),
        INSPECT,
        3,
        "be\\x0ata",
        "a line break",
        "rename its files",
    ),
    row("a name of 245 characters", "bare", ".nii.gz", _renamed("b" * 245), INSPECT, 3, "245", "rename"),
    row("one case in two formats", "bare", ".nii.gz", _twice, INSPECT, 3, _CASE, "beta.nrrd", "rename or remove", _OUT),
    row("one case in two formats", "flat", ".nii.gz", _twice, PREDICT, 3, _CASE, "beta.nrrd", "rename or remove", _OUT),
    row(
        "a case listed twice",
        "decathlon",
        ".nii.gz",
        _listed_twice,
        INSPECT,
        3,
        _CASE,
        "lists this case name twice",
        "remove one entry",
        _OUT,
    ),
    row(
        "test image with a training case's name",
        "nnunet_v2",
        ".nii.gz",
        lambda data: shutil.copy(data.image(), data.root / "imagesTs"),
        INSPECT,
        3,
        _CASE,
        "the name of the labelled case",
        "rename one of the two",
        _OUT,
    ),
    row(
        "keys of two layouts at once",
        "nnunet_v2",
        ".nii.gz",
        _described(training=[], modality={"0": "MRI"}),
        INSPECT,
        0,
        "warning",
        '"training"',
        '"channel_names"',
        "nnunet_v2",
    ),
    row(
        "keys of two layouts at once",
        "decathlon",
        ".nii.gz",
        _described(channel_names={"0": "MRI"}),
        INSPECT,
        0,
        '"training"',
        '"channel_names"',
        "dataset.json",
    ),
    row("images beside imagesTr", "bare", ".nii.gz", _stray, INSPECT, 0, "warning", "scan.nii.gz", "not used"),
    row(
        "inputs.json beside a data set",
        "decathlon",
        ".nii.gz",
        _platform_too,
        INSPECT,
        0,
        "warning",
        "inputs.json",
        "not used",
    ),
    row(
        "label without its image",
        "decathlon",
        ".nii.gz",
        lambda data: data.image().unlink(),
        INSPECT,
        3,
        _CASE,
        "the label has no image",
        _OUT,
    ),
    row(
        "image without its label",
        "nnunet_v2",
        ".nii.gz",
        lambda data: data.label().unlink(),
        TRAIN,
        3,
        _CASE,
        "the label is missing",
        _OUT,
    ),
    row(
        "no cases at all",
        "bare",
        ".nii.gz",
        lambda data: [shutil.rmtree(data.root), data.root.mkdir()],
        INSPECT,
        3,
        "there are no images",
        "--input",
    ),
    row(
        "one case",
        "decathlon",
        ".nii.gz",
        None,
        INSPECT,
        3,
        "there is only 1 labelled case",
        "at least 2",
        cases=("beta",),
    ),
    row("one case", "bare", ".mha", None, TRAIN, 3, "there is only 1 labelled case", "at least 2", cases=("beta",)),
    row(
        "two cases",
        "nnunet_v2",
        ".nii.gz",
        None,
        INSPECT,
        0,
        "warning",
        "only 2 labelled cases",
        "2 folds",
        cases=("alpha", "beta"),
    ),
    row("two cases", "decathlon", ".nrrd", None, TRAIN, 0, "only 2 labelled cases", "2 folds", cases=("alpha", "beta")),
    row("no test images", "decathlon", ".nii.gz", _no_tests, INSPECT, 0, "test images", "0"),
    row("no test images", "nnunet_v2", ".nii.gz", _no_tests, TRAIN, 0, "plan"),
    row("no test images", "bare", ".nii.gz", _no_tests, PREDICT, 3, "no unlabelled images", "imagesTs"),
)
JSON: tuple[Row, ...] = (
    row(
        "dataset.json is a list",
        "decathlon",
        ".nii.gz",
        _json_text("[1, 2]"),
        INSPECT,
        3,
        "dataset.json",
        "[1, 2]",
        "a JSON object",
        "correct dataset.json",
    ),
    row("dataset.json is a number", "nnunet_v2", ".nii.gz", _json_text("7"), TRAIN, 3, "dataset.json", "a JSON object"),
    row("dataset.json is empty", "decathlon", ".nii.gz", _json_text(""), INSPECT, 3, "dataset.json", "not valid JSON"),
    row(
        "dataset.json is cut",
        "decathlon",
        ".nii.gz",
        lambda data: data.json.write_text(data.json.read_text()[:90]),
        INSPECT,
        3,
        "dataset.json",
        "not valid JSON",
    ),
    row("dataset.json of 1 GB", "decathlon", ".nii.gz", _sparse, INSPECT, 3, "dataset.json", "larger than"),
    row(
        "dataset.json of 60 MB of brackets",
        "decathlon",
        ".nii.gz",
        lambda data: data.json.write_text("[" + "[]," * (20 << 20) + "0]"),
        INSPECT,
        3,
        "dataset.json",
    ),
    row(
        "dataset.json nested 900 deep",
        "decathlon",
        ".nii.gz",
        lambda data: data.json.write_text('{"a":' * 900 + "1" + "}" * 900),
        INSPECT,
        3,
        "dataset.json",
        "nested",
    ),
    row(
        "dataset.json nested 100000 deep",
        "decathlon",
        ".nii.gz",
        lambda data: data.json.write_text("[" * 100000),
        INSPECT,
        3,
        "dataset.json",
        "nested",
    ),
    row(
        "dataset.json in Latin-1",
        "decathlon",
        ".nii.gz",
        lambda data: data.json.write_bytes('{"name": "Müller"}'.encode("latin-1")),
        INSPECT,
        3,
        "dataset.json",
    ),
    row(
        "half of a Unicode pair",
        "decathlon",
        ".nii.gz",
        lambda data: data.json.write_text(data.json.read_text().replace('"one"', '"\\ud800"')),
        INSPECT,
        3,
        "dataset.json",
        "Unicode",
    ),
    row(
        "a key twice",
        "decathlon",
        ".nii.gz",
        lambda data: data.json.write_text(data.json.read_text().replace('"1": "one"', '"1": "one", "1": "zwei"')),
        INSPECT,
        3,
        "dataset.json",
        "'1'",
        "twice",
    ),
    row(
        "a number of 5000 digits",
        "decathlon",
        ".nii.gz",
        lambda data: data.json.write_text(data.json.read_text().replace('"numTest": 1', '"numTest": ' + "9" * 5000)),
        INSPECT,
        3,
        "dataset.json",
    ),
    row(
        "a number of 400 digits",
        "decathlon",
        ".nii.gz",
        lambda data: data.json.write_text(data.json.read_text().replace('"numTest": 1', '"numTest": ' + "9" * 400)),
        INSPECT,
        0,
        "warning",
        "numTest",
    ),
    row(
        "labels are a list",
        "decathlon",
        ".nii.gz",
        _described(labels=["one", "two"]),
        INSPECT,
        3,
        '"labels" is',
        "correct dataset.json",
    ),
    row(
        "a label value is text",
        "nnunet_v2",
        ".nii.gz",
        _described(labels={"background": 0, "one": "first"}),
        INSPECT,
        3,
        "'first'",
        "a whole number from 0 to 65535",
    ),
    row(
        "a label value is 70000",
        "nnunet_v2",
        ".nii.gz",
        _described(labels={"background": 0, "one": 70000}),
        TRAIN,
        3,
        "70000",
        "a whole number from 0 to 65535",
    ),
    row(
        "two labels of one value",
        "nnunet_v2",
        ".nii.gz",
        _described(labels={"background": 0, "one": 1, "two": 1}),
        INSPECT,
        3,
        '"one" and "two" have the same value 1',
        "correct dataset.json",
    ),
    row(
        "a region of several values",
        "nnunet_v2",
        ".nii.gz",
        _described(labels={"background": 0, "one": [1, 2]}),
        INSPECT,
        3,
        "region",
        "not supported",
    ),
    row(
        "channels are a number", "nnunet_v2", ".nii.gz", _described(channel_names=3), INSPECT, 3, '"channel_names" is 3'
    ),
    row(
        "a million channels",
        "decathlon",
        ".nii.gz",
        _described(modality={str(n): "MRI" for n in range(1_000_000)}),
        INSPECT,
        3,
        '"modality"',
        "1000000",
    ),
    row("unknown file ending", "nnunet_v2", ".nii.gz", _described(file_ending=".dcm"), INSPECT, 3, "'.dcm'", "one of"),
    row(
        "training is an object", "decathlon", ".nii.gz", _described(training={"a": 1}), INSPECT, 3, '"training"', "list"
    ),
    row(
        "a path that leaves the data set",
        "decathlon",
        ".nii.gz",
        _described(training=[{"image": "../../secret.nii.gz", "label": "labelsTr/beta.nii.gz"}]),
        INSPECT,
        3,
        "../../secret.nii.gz",
        "inside the data set's folder",
    ),
    row(
        "an absolute path",
        "decathlon",
        ".nii.gz",
        _described(test=["/etc/passwd.nii.gz"]),
        INSPECT,
        3,
        "/etc/passwd.nii.gz",
        "inside the data set's folder",
    ),
    row("a task name that is a path", "decathlon", ".nii.gz", _described(name="../../evil"), TRAIN, 0, "plan"),
    row("a task name of 10000 characters", "decathlon", ".nii.gz", _described(name="n" * 10_000), TRAIN, 0, "plan"),
    row(
        "other counts than files",
        "decathlon",
        ".nii.gz",
        _described(numTraining=999),
        INSPECT,
        0,
        "warning",
        '"numTraining" is 999',
    ),
    row(
        "an unknown name after --exclude", "bare", ".nii.gz", None, f"{INSPECT} --exclude delta", 3, "'delta'", "alpha"
    ),
)
