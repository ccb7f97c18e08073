"""Tiles, sliding-window prediction, and export to the source grid."""
