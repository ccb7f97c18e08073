"""The run report: records in, one self-contained HTML page out. Nothing here reads or writes a file of a run."""
