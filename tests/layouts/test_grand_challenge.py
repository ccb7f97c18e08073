"""The input of an algorithm on grand-challenge.org: both forms, and everything that is refused, by its words."""

from __future__ import annotations

import json

import pytest

from nnbox.layouts.detect import detect, find_tasks, is_grand_challenge
from nnbox.layouts.grand_challenge import find_images

IMAGE = "1b2a.mha"


def _entry(slug, path=None, key="socket", **values):
    socket = {"slug": slug, "relative_path": path or f"images/{slug}", "super_kind": "Image", "kind": "Image"}
    return {key: socket, "value": None, "file": None, "image": {"pk": "p", "name": "x.nii.gz"}, "pk": 1, **values}


def _put(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")


def _list(root, *entries):
    (root / "inputs.json").write_text(json.dumps(entries))


def _words(root, *slugs):
    found = find_images(root, slugs)
    assert found.problems
    return "\n".join(problem.sentence() for problem in found.problems)


def test_the_older_form_is_a_folder_per_slug(tmp_path):
    _put(tmp_path, f"images/pet/{IMAGE}", "images/ct/0c.tif")
    assert is_grand_challenge(tmp_path)
    assert find_tasks(tmp_path) == (tmp_path,)
    assert find_images(tmp_path, ("pet", "ct")).files == (f"images/pet/{IMAGE}", "images/ct/0c.tif")
    assert find_images(tmp_path, ("ct", "pet")).files == ("images/ct/0c.tif", f"images/pet/{IMAGE}")


@pytest.mark.parametrize("key", ["socket", "interface"])
def test_a_listing_says_where_a_sockets_folder_is(tmp_path, key):
    _put(tmp_path, f"images/the/ct/{IMAGE}", f"images/mr/{IMAGE}")
    _list(tmp_path, _entry("mr-image", "images/mr", key), _entry("ct-image", "images/the/ct", key))
    found = find_images(tmp_path, ("ct-image", "mr-image"))
    assert found.files == (f"images/the/ct/{IMAGE}", f"images/mr/{IMAGE}")


def test_the_newer_name_of_a_socket_counts_where_both_are_given(tmp_path):
    _put(tmp_path, f"images/ct/{IMAGE}")
    both = _entry("ct") | {"interface": {"slug": "old", "relative_path": "images/old"}}
    _list(tmp_path, both)
    assert find_images(tmp_path, ("ct",)).files == (f"images/ct/{IMAGE}",)


def test_a_slug_may_be_the_folders_name_where_the_socket_is_called_otherwise(tmp_path):
    _put(tmp_path, f"images/ct/{IMAGE}")
    _list(tmp_path, _entry("ct-image", "images/ct"))
    assert find_images(tmp_path, ("ct",)).files == find_images(tmp_path, ("ct-image",)).files


def test_a_sockets_own_slug_comes_before_another_sockets_folder(tmp_path):
    _put(tmp_path, "images/ct/a.mha", "images/other/b.mha")
    _list(tmp_path, _entry("other", "images/ct"), _entry("ct", "images/other"))
    assert find_images(tmp_path, ("ct",)).files == ("images/other/b.mha",)


def test_the_listing_counts_where_folders_lie_beside_it(tmp_path):
    _put(tmp_path, f"images/ct/{IMAGE}", f"images/mr/{IMAGE}")
    _list(tmp_path, _entry("ct"))
    assert "there is no input 'mr' in inputs.json; there is ct" in _words(tmp_path, "mr")


def test_values_and_other_files_beside_the_images_do_not_matter(tmp_path):
    _put(tmp_path, f"images/ct/{IMAGE}", "age.json")
    age = {"socket": {"slug": "age", "relative_path": "age.json", "super_kind": "Value"}, "image": None, "value": 61}
    _list(tmp_path, age, _entry("ct"))
    assert find_images(tmp_path, ("ct",)).files == (f"images/ct/{IMAGE}",)
    assert detect(tmp_path).test_cases[0].images == (f"images/ct/{IMAGE}",)
    assert "the input 'age' is no image" in _words(tmp_path, "age")


def test_an_image_that_is_listed_as_a_file_is_taken(tmp_path):
    _put(tmp_path, "scan.nii.gz")
    socket = {"slug": "scan", "relative_path": "scan.nii.gz", "super_kind": "File"}
    _list(tmp_path, {"socket": socket, "image": None, "file": "https://example.org/scan.nii.gz"})
    assert find_images(tmp_path, ("scan",)).files == ("scan.nii.gz",)


def test_a_prediction_is_a_metaimage_named_as_the_first_channel(tmp_path):
    _put(tmp_path, "images/ct/a.b.nii.gz")
    (case,) = detect(tmp_path).test_cases
    assert (case.name, case.output_name, case.label) == ("a.b", "a.b.mha", None)
    assert detect(tmp_path).layout == "grand-challenge"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "inputs.json: it cannot be read (is not valid JSON"),
        ("", "inputs.json: it cannot be read (is not valid JSON"),
        ('{"ct": 1}', "inputs.json: it holds {'ct': 1}; expected a JSON list of sockets"),
        (r'[{"socket": {"slug": "\ud800", "relative_path": "images/ct"}}]', "holds text that is no valid Unicode"),
        ("[1]", 'entry 0 is 1, without an object "socket" or "interface"'),
        ('[{"socket": "ct"}]', 'without an object "socket" or "interface"'),
        ('[{"socket": {"relative_path": "images/ct"}}]', 'the "slug" of entry 0 is None'),
        ('[{"socket": {"slug": "ct"}}]', "the \"relative_path\" of 'ct' is None; expected a path inside the input"),
        ('[{"socket": {"slug": "ct", "relative_path": "../ct"}}]', "the \"relative_path\" of 'ct' is '../ct'"),
        ('[{"socket": {"slug": "ct", "relative_path": "/ct"}}]', "the \"relative_path\" of 'ct' is '/ct'"),
        ('[{"socket": {"slug": "ct", "relative_path": ""}}]', "the \"relative_path\" of 'ct' is ''"),
        ('[{"socket": {"slug": "ct", "relative_path": 7}}]', "the \"relative_path\" of 'ct' is 7"),
    ],
)
def test_a_listing_that_is_none_is_refused_by_what_it_holds(tmp_path, content, words):
    (tmp_path / "inputs.json").write_text(content)
    assert words in _words(tmp_path, "ct")
    assert words in detect(tmp_path).problems[0].sentence()


def test_a_slug_listed_twice_is_refused(tmp_path):
    _put(tmp_path, f"images/ct/{IMAGE}")
    _list(tmp_path, _entry("ct"), _entry("ct"))
    assert "it lists the slug 'ct' twice" in _words(tmp_path, "ct")


def test_two_files_in_a_slugs_folder_are_refused_and_hidden_ones_do_not_count(tmp_path):
    _put(tmp_path, "images/ct/a.mha", "images/ct/.DS_Store")
    assert not find_images(tmp_path, ("ct",)).problems
    _put(tmp_path, "images/ct/b.mha")
    words = _words(tmp_path, "ct")
    assert "images/ct: the folder of the input 'ct' holds 2 files (a.mha, b.mha); expected exactly one file" in words


def test_every_missing_image_is_told_at_once(tmp_path):
    _put(tmp_path, f"images/ct/{IMAGE}")
    (tmp_path / "images/pet").mkdir()
    _list(tmp_path, _entry("ct"), _entry("pet"), _entry("mr"))
    words = _words(tmp_path, "pet", "mr", "ct", "us")
    assert "the folder of the input 'pet' holds 0 files; expected exactly one file" in words
    assert "the folder of the input 'mr' is not there" in words
    assert "there is no input 'us' in inputs.json; there is ct, pet, mr" in words


def test_a_file_of_another_kind_is_refused(tmp_path):
    _put(tmp_path, "images/ct/scan.dcm")
    assert "images/ct/scan.dcm: the file of the input 'ct' is of no kind that can be read" in _words(tmp_path, "ct")


def test_a_listing_without_images_is_no_case(tmp_path):
    _list(tmp_path)
    draft = detect(tmp_path)
    assert not draft.test_cases
    assert "no input is an image" in draft.problems[0].sentence()


@pytest.mark.parametrize(
    "files",
    [
        ("dataset.json", f"images/ct/{IMAGE}"),
        ("imagesTr/a.nii.gz", f"images/ct/{IMAGE}"),
        ("imagesTs/a.nii.gz", "inputs.json"),
        ("a.nii.gz", f"images/ct/{IMAGE}"),
        ("images/a.nii.gz",),
        ("ct/a.nii.gz",),
    ],
)
def test_data_sets_and_plain_folders_are_not_taken_for_an_algorithms_input(tmp_path, files):
    _put(tmp_path, *files)
    assert not is_grand_challenge(tmp_path)
    assert detect(tmp_path).layout != "grand-challenge"
