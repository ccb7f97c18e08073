"""Streams depend on (seed, unit, step, sample) alone."""

from __future__ import annotations

import itertools

from nnbox.randomness import generator


def test_the_same_place_gives_the_same_numbers():
    assert (
        generator(1, "3d_fullres/fold_0", 7, 1).random(4).tolist()
        == generator(1, "3d_fullres/fold_0", 7, 1).random(4).tolist()
    )


def test_every_coordinate_matters():
    places = itertools.product((0, 1), ("a", "b"), (0, 1), (0, 1))
    assert len({generator(*place).random() for place in places}) == 16
