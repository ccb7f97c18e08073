"""Finished work is recognised; changed or damaged work is named."""

from __future__ import annotations

import pytest

from nnbox.stages.receipts import Receipts, Unit


@pytest.fixture
def receipts(tmp_path):
    return Receipts(root=tmp_path, folder=tmp_path / "receipts")


def _unit(tmp_path, **inputs):
    return Unit(name="stage/case", version=1, inputs={"image": "a", **inputs}, outputs=(tmp_path / "out.bin",))


def test_finished_work_is_not_done_again(tmp_path, receipts):
    done = []

    def work():
        done.append(1)
        (tmp_path / "out.bin").write_bytes(b"result")

    assert receipts.carry_out(_unit(tmp_path), work)
    assert not receipts.carry_out(_unit(tmp_path), work)
    assert len(done) == 1


def test_changed_inputs_are_listed_with_before_and_after(tmp_path, receipts):
    (tmp_path / "out.bin").write_bytes(b"result")
    receipts.write(_unit(tmp_path, epochs="3"), seconds=1)
    changed = Unit(name="stage/case", version=2, inputs={"image": "a", "epochs": "5"}, outputs=(tmp_path / "out.bin",))
    assert tuple(item.words for item in receipts.differences(changed)) == (
        "version of the work: 1 -> 2",
        "epochs: 3 -> 5",
    )
    assert not receipts.is_done(changed)


def test_a_unit_without_a_receipt_is_not_done(tmp_path, receipts):
    assert receipts.differences(_unit(tmp_path)) is None
    assert not receipts.is_done(_unit(tmp_path))


@pytest.mark.parametrize("content", [None, b"resulT", b"short"])
def test_a_damaged_output_is_noticed(tmp_path, receipts, content):
    out = tmp_path / "out.bin"
    out.write_bytes(b"result")
    receipts.write(_unit(tmp_path), seconds=1)
    out.unlink()
    if content is not None:
        out.write_bytes(content)
    assert receipts.damaged("stage/case") == ("out.bin",)
    assert not receipts.is_done(_unit(tmp_path))


def test_an_output_that_was_only_touched_is_intact(tmp_path, receipts):
    out = tmp_path / "out.bin"
    out.write_bytes(b"result")
    receipts.write(_unit(tmp_path), seconds=1)
    out.unlink()
    out.write_bytes(b"result")
    assert receipts.is_done(_unit(tmp_path))


def test_a_truncated_receipt_counts_as_none(tmp_path, receipts):
    (tmp_path / "out.bin").write_bytes(b"result")
    receipts.write(_unit(tmp_path), seconds=1)
    path = receipts.path("stage/case")
    path.write_bytes(path.read_bytes()[:40])
    assert not receipts.is_done(_unit(tmp_path))
