"""Records survive the way to JSON and back, and a damaged record is named, not guessed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnbox.errors import Problem, RecordError, Severity
from nnbox.records.codec import decode, digest, dumps, encode, parse_record, read_record, write_record
from nnbox.records.fingerprint import CaseFingerprint, Fingerprint, Intensity
from nnbox.records.plan import Folds

_SHAPES = st.tuples(*[st.integers(1, 500)] * 3)
_SPACINGS = st.tuples(*[st.floats(1e-3, 1e3)] * 3)
_CASES = st.builds(
    CaseFingerprint,
    name=st.text(min_size=1),
    source_shape_vox=_SHAPES,
    shape_vox=_SHAPES,
    spacing_mm=_SPACINGS,
    crop_ratio=st.floats(0.01, 1),
    label_voxels=st.lists(st.integers(0, 10**9)).map(tuple),
    components=st.lists(st.integers(0, 100)).map(tuple),
)
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_INTENSITIES = st.builds(
    Intensity,
    mean=_NUMBERS,
    sd=_NUMBERS,
    percentile_00_5=_NUMBERS,
    percentile_99_5=_NUMBERS,
    minimum=_NUMBERS,
    maximum=_NUMBERS,
    voxels=st.integers(0, 10**12),
)
_FINGERPRINTS = st.builds(
    Fingerprint,
    task=st.text(),
    dimension=st.sampled_from([2, 3]),
    channels=st.just(()),
    labels=st.just(()),
    cases=st.lists(_CASES, max_size=3).map(tuple),
    intensities=st.none() | st.lists(_INTENSITIES, max_size=2).map(tuple),
)


@given(_FINGERPRINTS)
def test_a_record_comes_back_equal(record):
    assert parse_record(json.loads(dumps(record)), Fingerprint, where="memory") == record


@given(_FINGERPRINTS, _FINGERPRINTS)
def test_equal_records_have_equal_digests(one, other):
    assert (digest(one) == digest(other)) == (one == other)


def test_a_record_comes_back_from_disk(tmp_path):
    folds = Folds(validation=(("a",), ("b", "c")), origin="derived")
    write_record(tmp_path / "folds.json", folds)
    assert read_record(tmp_path / "folds.json", Folds) == folds


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"record": "plan"}, "expected record 'folds' version 1"),
        ({"version": 99}, "version 99"),
        ({"surprise": 1}, "unknown field 'surprise'"),
        ({"origin": 3}, "origin: expected a str, found 3"),
        ({"validation": {"a": 1}}, "validation: expected a list"),
        ({"validation": [["a", 1]]}, "validation[0][1]: expected a str"),
    ],
)
def test_a_damaged_record_is_refused_with_the_place(change, words):
    document = json.loads(dumps(Folds(validation=(("a",),), origin="derived"))) | change
    with pytest.raises(RecordError) as error:
        parse_record(document, Folds, where="folds.json")
    assert words in str(error.value)
    assert "folds.json" in str(error.value)


def test_a_missing_field_is_named():
    document = json.loads(dumps(Folds(validation=(("a",),), origin="derived")))
    del document["origin"]
    with pytest.raises(RecordError, match="field 'origin' is missing"):
        parse_record(document, Folds, where="x")


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_file_that_is_no_json_is_refused(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"x\.json"):
        read_record(path, Folds)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordError, match="does not exist"):
        read_record(tmp_path / "absent.json", Folds)


def test_non_finite_numbers_never_reach_a_record():
    @dataclass(frozen=True)
    class Score:
        RECORD: ClassVar[str] = "score"
        VERSION: ClassVar[int] = 1
        value: float

    with pytest.raises(ValueError, match="non-finite"):
        encode(Score(value=float("nan")))
    with pytest.raises(RecordError, match="a finite number"):
        decode({"value": float("inf")}, Score, where="x")


def test_booleans_are_not_numbers_and_integers_are_floats_where_floats_are_expected():
    assert decode(3, float, where="x") == 3.0
    with pytest.raises(RecordError):
        decode(True, float, where="x")
    with pytest.raises(RecordError):
        decode(True, int, where="x")


def test_an_enum_is_read_by_its_value():
    problem = Problem(severity=Severity.WARNING, what="a", expected="b", remedy="c")
    assert decode(encode(problem), Problem, where="x") == problem
    with pytest.raises(RecordError, match="one of 'error', 'warning'"):
        decode(encode(problem) | {"severity": "fatal"}, Problem, where="x")


def test_no_record_has_a_field_that_its_header_would_hide():
    import dataclasses
    import importlib
    import pkgutil

    import nnbox.records
    import nnbox.stages.receipts

    modules = [
        importlib.import_module(f"nnbox.records.{item.name}") for item in pkgutil.iter_modules(nnbox.records.__path__)
    ]
    for module in [*modules, nnbox.stages.receipts]:
        for kind in vars(module).values():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and hasattr(kind, "RECORD"):
                assert not {field.name for field in dataclasses.fields(kind)} & {"record", "version"}, kind


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested 100 levels"),
        (b"[" * 100_000, "nested 100000 levels"),
        (b'{"a": 1, "a": 2}', "'a' is there twice"),
        (b'{"a": "\\ud800"}', "no valid Unicode"),
        (b'{"a": NaN}', "NaN is no number"),
        (b"9" * 5000, "not valid JSON"),
        (b"\xff", "not valid JSON"),
    ],
)
def test_a_document_that_would_break_what_reads_it_is_refused(text, words):
    from nnbox.records.json_text import parse_json

    with pytest.raises(RecordError, match=words):
        parse_json(text, "file.json", finite=True)


def test_brackets_in_texts_are_no_nesting_and_a_whole_pair_is_unicode():
    from nnbox.records.json_text import parse_json

    text = b'{"a": "' + b"[{" * 500 + b'\\"[", "b": "\\ud83d\\ude00"}'
    assert parse_json(text, "file.json")["b"] == "\U0001f600"


@pytest.mark.parametrize("number", ["1" + "0" * 400, "9223372036854775808"])
def test_a_number_of_more_than_64_bits_is_refused(number):
    from nnbox.records.codec import decode

    for kind in (int, float):
        with pytest.raises(RecordError, match="64 bits"):
            decode(int(number), kind, where="field")


def test_a_pipe_is_not_waited_for(tmp_path):
    import os

    from nnbox.records.codec import read_json

    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(RecordError, match="a pipe or a device"):
        read_json(tmp_path / "pipe.json")
