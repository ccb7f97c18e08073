"""The papers' decisions: pure functions of numbers; no I/O, no torch. The ledger is README.md beside this file."""
