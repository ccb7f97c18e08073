"""Fingerprints that were not made here: the input format of ``nnbox plan --fingerprint``."""

from __future__ import annotations
