"""Input files are those whose digests a run took, also when they are read again hours later. Source: own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nnbox.errors import DataError
from nnbox.imaging.examine import file_state
from nnbox.records.dataset import FileState

_REMEDY = (
    "What to do: put the file back, or leave it as it is now; then run the same command again, which tells what a "
    "change means for what is finished."
)


def require_as_taken(files: Mapping[Path, FileState]) -> None:
    """See that files that were just read are what they were when the run took them in.

    Else a receipt would name the digest of what was there before.

    Args:
        files: what each was.

    Raises:
        DataError: one was changed or is gone; what was made of it must not be kept.
    """
    for path, taken in files.items():
        try:
            now = file_state(path, taken)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}, while the run was at work. {_REMEDY}") from None
        if now.sha256 != taken.sha256:
            raise DataError(
                f"{path} was changed while the run was at work: it had the digest {taken.sha256[:12]}… and has "
                f"{now.sha256[:12]}…. {_REMEDY}"
            )
