"""Small synthetic data sets in Decathlon layout, for smoke tests and demos."""

from nnbox.synthesize.dataset import Synthesized, synthesize
from nnbox.synthesize.presets import PRESETS, Preset

__all__ = ["PRESETS", "Preset", "Synthesized", "synthesize"]
