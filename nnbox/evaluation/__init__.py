"""Dice, surface Dice and Hausdorff distance, with stated rules for empty masks."""
