"""Where a run may write: looked at before anything is read, so that a wrong mount is told within a second.

No heavy module is imported here.
"""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from pathlib import Path

from nnbox.errors import ResourceError, UsageError
from nnbox.layouts.names import OWN_FOLDER
from nnbox.stages.container import command_line, in_container

PROBE = ".write-test-"
"""How the name of the file begins with which a folder is tried."""
_CACHES = {
    "MPLCONFIGDIR": "matplotlib",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "XDG_CACHE_HOME": "cache",
}


def require_places(output: Path, root: Path) -> None:
    """See that the input can be read and the output written.

    Raises:
        UsageError: the output lies among the input's files.
        ResourceError: a folder cannot be read or written; in a container the message ends with the line that works.
    """
    require_apart(output, root)
    require_readable(root)
    require_writable(output, root)


def require_apart(output: Path, root: Path) -> None:
    """See that no result can fall among the input's files: only ``<input>/nnbox`` may lie inside the input.

    Raises:
        UsageError: the output is the input folder, or another folder inside it.
    """
    inside, place = root.resolve(), output.resolve()
    own = inside / OWN_FOLDER
    if place.is_relative_to(inside) and not place.is_relative_to(own):
        raise UsageError(
            f"--output {output} lies inside --input {root}, whose files are never changed. What to do: name a folder "
            f"outside of it, or {root / OWN_FOLDER}."
        )


def require_readable(root: Path) -> None:
    """See that this user may list the input folder; whether it is there at all is for the layouts to say.

    Raises:
        ResourceError: it may not.
    """
    if root.is_dir() and not os.access(root, os.R_OK | os.X_OK):
        raise ResourceError(f"{root} cannot be read: {_ownership(root)}. {_as_owner(root, 'read')}")


def require_writable(output: Path, root: Path) -> None:
    """Make the output folder and see that it takes files.

    Raises:
        ResourceError: it cannot be made or written.
    """
    # Named by chance: in containers every run is process 1.
    probe = output / f"{PROBE}{secrets.token_hex(8)}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ResourceError(_refusal(output, root, error)) from None


def require_scratch(output: Path) -> None:
    """See that temporary files have a place; where the system has none (a read-only container), make one in the output.

    Caches of libraries go there too unless the home folder takes them. Worker processes inherit it through the
    environment.
    """
    try:
        scratch = Path(tempfile.gettempdir())
    except FileNotFoundError:
        scratch = output / ".scratch"
        scratch.mkdir(exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    home = Path(os.environ.get("HOME", "/"))
    if not (home.is_dir() and os.access(home, os.W_OK)):
        for variable, name in _CACHES.items():
            os.environ.setdefault(variable, str(scratch / f"nnbox-{os.getuid()}" / name))


def _refusal(output: Path, root: Path, error: OSError) -> str:
    existing = next(folder for folder in (output, *output.parents) if folder.exists())
    what = f"the output folder {output} cannot be written"
    if error.errno == errno.EROFS:
        beside = output.is_relative_to(root)
        why = f"{root if beside else existing} is mounted read-only"
        if in_container() and beside:
            return (
                f"{what}: {why} and nothing is mounted at /output, so that no result would survive this container. "
                f"What to do: give the results a volume of their own:\n  {command_line(results=True)}"
            )
        return f"{what}: {why}. What to do: name a writable one with --output, or mount one."
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"{what}: {_ownership(existing)}. {_as_owner(existing, 'write')}"
    return f"{what} ({error.strerror}). What to do: name a writable one with --output, or mount one."


def _ownership(folder: Path) -> str:
    state = folder.stat()
    return f"{folder} belongs to user {state.st_uid} (mode {state.st_mode & 0o7777:04o}) and this is user {os.getuid()}"


def _as_owner(folder: Path, act: str) -> str:
    state = folder.stat()
    if in_container():
        line = command_line(user=f"{state.st_uid}:{state.st_gid}")
        return f"What to do: run as the user it belongs to:\n  {line}"
    return f"What to do: name a folder with --{'output' if act == 'write' else 'input'} that this user may {act}."
