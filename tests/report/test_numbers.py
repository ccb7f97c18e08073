"""How numbers are written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnbox.report.numbers import (
    about,
    by,
    decimals,
    duration,
    exact,
    grouped,
    interval,
    signed,
    significant,
    size,
    token,
)


def _read(text):
    return float(text.replace("\N{MINUS SIGN}", "-").replace("\N{NARROW NO-BREAK SPACE}", ""))


@given(st.floats(-1e12, 1e12).filter(lambda value: abs(value) > 1e-4), st.integers(2, 6))
def test_a_number_is_written_with_the_digits_that_count(value, digits):
    assert _read(significant(value, digits)) == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_decimals_are_a_rounding(value, digits):
    assert _read(decimals(value, digits)) == pytest.approx(value, abs=0.5 * 10**-digits + 1e-9)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (0.25, "0.25"),
        (12.5, "12.5"),
        (123456.0, "123\u202f000"),
        (1e-7, "1.00e\N{MINUS SIGN}07"),
    ],
)
def test_short_numbers_stay_short(value, written):
    assert significant(value) == written


def test_undefined_is_a_dash_and_never_a_zero():
    assert {decimals(None, 3), significant(None), grouped(None), signed(None, 2)} == {"–"}
    assert decimals(-0.0001, 3) == "0.000"
    assert signed(-0.00001, 3) == "0.000"
    assert signed(0.5, 1) == "+0.5"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (45.2, "45 s"), (600, "10 min"), (7200, "2.0 h"), (86400 * 12, "12.0 days")],
)
def test_durations_are_for_people(seconds, written):
    assert duration(seconds) == written


def test_bytes_are_written_in_mega_and_giga():
    assert size(12_300_000, "a").shown == "12 MB"
    assert size(1_500_000_000, "a").shown == "1.5 GB"
    assert size(None, "a").shown == "–"


def test_parts_keep_their_origin():
    parts = by([about(1.5, "f#/a"), exact(2.0, "f#/b", 1)])
    assert [part if isinstance(part, str) else (part.value, part.source) for part in parts] == [
        (1.5, "f#/a"),
        " × ",
        (2.0, "f#/b"),
    ]
    low, _, high = interval([0.1, 0.2, 0.4], "f#/c", 3)
    assert low.value < high.value
    assert math.isfinite(low.value)
    assert interval([0.1], "f#/c", 3) == ("–",)


def test_names_in_an_origin_are_escaped_as_in_a_json_pointer():
    assert token("a/b~c") == "a~1b~0c"
