"""A MetaImage header is judged before the reader that would believe it."""

import pytest

from nnbox.imaging.text_header import meta_defect

GOOD = {
    "ObjectType": "Image",
    "NDims": "3",
    "CompressedDataSize": "9",
    "HeaderSize": "-1",
    "ElementNumberOfChannels": "1",
    "DimSize": "4 5 6",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}


def write(path, fields, first=""):
    path.write_text(first + "".join(f"{key} = {value}\n" for key, value in fields.items()) + "\0\1\2")
    return path


def test_a_header_as_writers_make_it_is_fit(tmp_path):
    assert meta_defect(write(tmp_path / "a.mha", GOOD)) is None


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("NDims", "100", "NDims = 100"),
        ("NDims", "-1", "NDims = -1"),
        ("NDims", "3.5", "NDims = 3.5"),
        ("DimSize", "4 5", "DimSize = 4 5"),
        ("DimSize", "4 5 0", "DimSize = 4 5 0"),
        ("DimSize", "99999 99999 99999", "99999 99999 99999"),
        ("ElementNumberOfChannels", "0", "ElementNumberOfChannels = 0"),
        ("ElementNumberOfChannels", "9999999", "ElementNumberOfChannels = 9999999"),
        ("HeaderSize", "-2", "headersize = -2"),
        ("CompressedDataSize", "many", "compresseddatasize = many"),
        ("ElementType", "M" * 5000, "a line of 5,014 bytes"),
    ],
)
def test_a_number_that_no_image_has_is_told(tmp_path, field, value, words):
    defect = meta_defect(write(tmp_path / "a.mha", {**GOOD, field: value}))
    assert defect is not None
    assert words in defect[0]


def test_a_field_twice_is_told_since_readers_differ_in_which_they_take(tmp_path):
    assert meta_defect(write(tmp_path / "a.mha", GOOD, "NDims = 100\n")) == (
        "its header states 'ndims' twice",
        "each field once",
    )


def test_a_line_that_is_no_field_is_told(tmp_path):
    defect = meta_defect(write(tmp_path / "a.mha", GOOD, "rubbish\n"))
    assert defect is not None
    assert "the line 'rubbish'" in defect[0]


def test_an_empty_file_has_no_header(tmp_path):
    (tmp_path / "a.mha").write_bytes(b"")
    assert meta_defect(tmp_path / "a.mha") == ("its header has no ElementDataFile", "a MetaImage header")
