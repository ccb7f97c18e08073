"""Every Triton kernel compiles for cards old and new, without one being there: the interpreter allows more."""

from __future__ import annotations

import os
import subprocess
import sys

COMPILE = """
import importlib
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

HALF = ("maps", "outer", "result", "gradient", "first", "second", "joined", "logits")
SINGLE = ("parts", "means", "inverses", "scales", "shifts", "sums", "at_label", "everywhere")
SINGLE += ("images", "places", "sizes")
TYPES = {"slope": "fp32", "epsilon": "fp32", "weight": "fp32", "labels": "*i8"}
TYPES |= dict.fromkeys(HALF, "*bf16") | dict.fromkeys(SINGLE, "*fp32")
CONSTANTS = {"TV": 128, "TF": 32, "TS": 64, "TC": 4, "TILE": 256, "AXES": 3, "KZ": 3, "KY": 3, "KX": 3, "TK": 32}
# Launched from the host: kernel, and what differs from the types above.
LAUNCHED = {
    "nnbox.network.kernels": {name: {} for name in (
        "_moment_parts", "_join_moments", "_apply", "_gradient_parts", "_join_sums", "_apply_gradient")},
    "nnbox.network.joining_kernels": {"_join": {}, "_split": {}},
    "nnbox.network.stem_kernels": {
        "_convolve": {"image": "*bf16", "weights": "*bf16"}, "_weight_parts": {"image": "*bf16"}},
    "nnbox.training.mirror_kernels": {"_mirror": {"array": "*fp32", "result": "*fp32", "axes": "*i32"}},
    "nnbox.training.loss_kernels": {"_parts": {}, "_gradient": {"outer": "*fp32"}},
    "nnbox.training.reading_kernels": {"_sum_up": {"results": "*fp32"}, "_vote": {"results": "*i8"}},
}
MOST_SHARED_BYTES = 65536  # of a program, on the oldest of these cards
# The widest that each may be launched with, where that is not the usual.
CONSTANTS_OF = {"_convolve": {"TV": 64, "TK": 128, "TF": 64}, "_weight_parts": {"TV": 64, "TK": 128, "TF": 64}}
for module, kernels in LAUNCHED.items():
    found = importlib.import_module(module)
    assert all(isinstance(getattr(found, name), triton.JITFunction) for name in kernels)
    for name, differing in kernels.items():
        kernel = getattr(found, name)
        constants = CONSTANTS | CONSTANTS_OF.get(name, {})
        used = {item: value for item, value in constants.items() if item in kernel.arg_names}
        types = {**TYPES, **differing, **dict.fromkeys(used, "constexpr")}
        signature = {item: types.get(item, "i32") for item in kernel.arg_names}
        for capability in map(int, sys.argv[1:]):
            source = ASTSource(kernel, signature, constexprs=used)
            made = triton.compile(source, target=GPUTarget("cuda", capability, 32))
            assert made.asm["cubin"], name
            assert made.metadata.shared <= MOST_SHARED_BYTES, name
"""


def test_the_kernels_compile_for_cards_old_and_new_without_one_being_there(tmp_path):
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    command = [sys.executable, "-c", COMPILE, "75", "90"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
