"""Run by the other tool's Python: a model folder of its own kind around a network of ours.

``peer_model.py DESCRIPTION WEIGHTS FOLDER``: the description (JSON) is a configuration of our plan, the weights (npz)
are our network's. Its own class builds the network, so a weight without a place, or a place without a weight, is an
error: what both sides compute is the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from peer_plans import dataset, plans


def main() -> None:
    description, weights, folder = json.loads(Path(sys.argv[1]).read_text()), np.load(sys.argv[2]), Path(sys.argv[3])
    topology = description["topology"]
    own = plans(description)
    manager = PlansManager(own)
    configuration = manager.get_configuration("3d_fullres")
    network = nnUNetTrainer.build_network_architecture(
        manager, configuration, topology["input_channels"], topology["classes"], enable_deep_supervision=False
    )
    network.load_state_dict(_translated(network.state_dict(), weights))
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(own))
    (folder / "dataset.json").write_text(json.dumps(dataset(topology["classes"])))
    checkpoint = {
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": (0, 1, 2),
        "network_weights": network.state_dict(),
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")


def _translated(state: dict[str, torch.Tensor], weights: Any) -> dict[str, torch.Tensor]:
    """Give every tensor of theirs ours; what ours has not (two kinds of bias) is 0, deep heads stay unused."""
    found = {}
    levels = sum(name.startswith("decoder.transpconvs") and name.endswith("weight") for name in state) + 1
    for name, tensor in state.items():
        parts = name.split(".")
        if ".encoder." in name or ".all_modules." in name:
            found[name] = None  # second names of the same tensors
        elif parts[1] == "stages":
            stage = int(parts[2])
            level, kind = (stage, "encoder") if parts[0] == "encoder" else (levels - 2 - stage, "decoder")
            block = parts[parts.index("convs") + 1]
            values = weights[f"{kind}.{level}.{block}.{parts[-2]}.{parts[-1]}"]
            if kind == "decoder" and block == "0" and values.ndim == 5:
                # Ours reads the skip connection first, theirs what comes from below.
                values = np.roll(values, values.shape[1] // 2, axis=1)
            found[name] = torch.from_numpy(values)
        elif parts[1] == "transpconvs" and parts[-1] == "weight":
            found[name] = torch.from_numpy(weights[f"up.{levels - 2 - int(parts[2])}.weight"])
        elif parts[1] == "seg_layers" and parts[-1] == "weight" and int(parts[2]) == levels - 2:
            found[name] = torch.from_numpy(weights["head.weight"])
        else:
            found[name] = torch.zeros_like(tensor)
    for name in [name for name, tensor in found.items() if tensor is None]:
        first = name.replace("decoder.encoder.", "encoder.")
        first = first.replace(".all_modules.0.", ".conv.").replace(".all_modules.1.", ".norm.")
        found[name] = found[first]
    return found


if __name__ == "__main__":
    main()
