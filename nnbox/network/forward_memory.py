"""The memory of a forward pass, as arithmetic: what `nnbox.network.forward` and a card hold at their fullest moment.

On the way up at full resolution three arrays of the first level's features are alive at a time (skip connection, what
was multiplied and what is laid out in space, or both halves of the joined convolution), and half of a fourth: pieces
and what comes from below. oneDNN works on features in groups of eight and copies maps whose features are no multiple.
The answer comes on top where the maps are small: glibc keeps freed arrays below 32 MiB for later, and hands larger ones
back at once. Source: own; compared with measurements in ``tests/stages/test_memory.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnbox.network.counting import parameter_count
from nnbox.records.plan import Topology
from nnbox.records.precision import Precision

FLOAT_BYTES = 4
_HALF_BYTES = 2
_KEPT_BELOW_BYTES = 1 << 25
_FEATURE_GROUP = 8
_MAPS = 3.5
_CARD_MAPS = 6.0  # the joined map counts twice, normalisation makes a copy, and the skip connection stays
_CARD_ANSWER_BYTES = 10  # a value in 16 bits, as float32, and its softmax


def weights_bytes(topology: Topology) -> int:
    """Return the bytes of a network's float32 weights."""
    return FLOAT_BYTES * parameter_count(topology)


def answer_bytes(topology: Topology, patch_vox: Sequence[int], samples: int) -> int:
    """Return the bytes of class probabilities, float32 (samples, classes, *patch)."""
    return FLOAT_BYTES * samples * topology.classes * math.prod(patch_vox)


def forward_bytes(topology: Topology, patch_vox: Sequence[int], samples: int) -> int:
    """Return the most that one forward pass on a CPU holds, its input and its answer included, weights not.

    Args:
        topology: of the network.
        patch_vox: as many axes as it has.
        samples: tiles and mirrored passes taken together.
    """
    voxels, features = samples * math.prod(patch_vox), topology.features[0]
    size = FLOAT_BYTES  # also of bf16: a processor that lacks it makes float32 copies of what it convolves
    below = topology.features[1] / math.prod(topology.strides[1]) if len(topology.features) > 1 else 0.0
    maps = _MAPS + (1.0 if features % _FEATURE_GROUP else 0.0)
    alive = size * voxels * (maps * features + below) + FLOAT_BYTES * voxels * topology.input_channels
    answer = answer_bytes(topology, patch_vox, samples)
    one_map = size * voxels * features
    if one_map < _KEPT_BELOW_BYTES:
        return int(alive + answer)
    return int(max(alive, one_map + answer))


def card_forward_bytes(topology: Topology, patch_vox: Sequence[int], samples: int, precision: Precision) -> int:
    """Return the same for `nnbox.network.on_card` on a card; what its libraries take for themselves is left out.

    With it goes what recordings of the pass read and write, which stays: of so many tiles, and of a constant one.
    """
    voxels, features = samples * math.prod(patch_vox), topology.features[0]
    size = FLOAT_BYTES
    if precision is not Precision.FLOAT32:
        size, features = _HALF_BYTES, -(-features // _FEATURE_GROUP) * _FEATURE_GROUP
    recorded = samples + 1
    kept = answer_bytes(topology, patch_vox, recorded)
    kept += FLOAT_BYTES * recorded * math.prod(patch_vox) * topology.input_channels
    alive = size * _CARD_MAPS * features * voxels + FLOAT_BYTES * voxels * topology.input_channels
    answer = (2 * size * features + _CARD_ANSWER_BYTES * topology.classes) * voxels
    return int(max(alive, answer) + kept)
