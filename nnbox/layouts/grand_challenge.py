"""The input of an algorithm on grand-challenge.org: one case, one image per socket; ``docs/grand-challenge.md``.

``inputs.json`` lists the sockets with their folders; an older platform gave the folders alone::

    inputs.json                 [{"socket": {"slug": "ct-image", "relative_path": "images/ct", …}, "image": {…}}, …]
    images/ct/<anything>.mha

Which socket is which channel is not said here: the model bundle carries it (`nnbox.records.handover.Handover`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nnbox.errors import Problem, RecordError
from nnbox.layouts.draft import LayoutDraft, error, task_name
from nnbox.layouts.names import dimension_of, stem_of
from nnbox.records.codec import Json, brief, read_json
from nnbox.records.dataset import Case
from nnbox.records.endings import image_ending

LAYOUT = "grand-challenge"
LISTING = "inputs.json"
IMAGES = "images"
_KINDS = ".mha, .tif or .nii.gz"
_ASK = "ask the platform's support, or correct the file where you made it yourself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """One input of an algorithm.

    Attributes:
        slug: the platform's name for it.
        path: its folder (or file), relative to the input.
        is_image: whether it is an image and not a value or another kind of file.
    """

    slug: str
    path: str
    is_image: bool

    @property
    def names(self) -> tuple[str, str]:
        """What may be meant by a slug: the platform's own, or the folder below ``images``."""
        return self.slug, self.path.removeprefix(f"{IMAGES}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmInput:
    """The image files of the one case, and what is wrong with them.

    Attributes:
        files: relative to the input, in the order asked for; not all of them where there are problems.
        problems: every finding.
    """

    files: tuple[str, ...]
    problems: tuple[Problem, ...]


def is_algorithm_input(root: Path) -> bool:
    """Return whether a folder has ``inputs.json``, or folders in ``images``; a data set's own files come first."""
    folder = root / IMAGES
    return (root / LISTING).is_file() or (folder.is_dir() and bool(_folders(folder)))


def find_images(root: Path, slugs: Sequence[str] | None = None) -> AlgorithmInput:
    """Return the image file of each slug, in the order of the slugs; None: of every image socket, as they are listed.

    Args:
        root: what is mounted at ``/input``.
        slugs: of the model's channels.
    """
    sockets, problems = _sockets(root)
    if problems:
        return AlgorithmInput(files=(), problems=problems)
    found: list[str] = []
    missing: list[Problem] = []
    wanted = [socket.slug for socket in sockets if socket.is_image] if slugs is None else slugs
    for slug in wanted:
        socket = _choose(sockets, slug)
        result = _no_socket(root, sockets, slug) if socket is None else _image_of(root, socket)
        if isinstance(result, Problem):
            missing.append(result)
        else:
            found.append(result)
    return AlgorithmInput(files=tuple(found), problems=tuple(missing))


def case_of(files: Sequence[str]) -> Case:
    """Return the one case; its prediction is a MetaImage named as the first channel's file."""
    name = stem_of(files[0])
    return Case(name=name, images=tuple(files), label=None, output_name=f"{name}.mha")


def detect_grand_challenge(root: Path) -> LayoutDraft:
    """Describe an algorithm's input without a model: every image socket is taken for a channel."""
    found = find_images(root)
    whole = found.files and not found.problems
    problems = found.problems
    if not whole and not problems:
        expected = "at least one image for the algorithm"
        problems = (error("no input is an image", expected, "see what is mounted at /input", file=LISTING),)
    return LayoutDraft(
        task=task_name(root),
        layout=LAYOUT,
        dimension=dimension_of(found.files),
        test_cases=(case_of(found.files),) if whole else (),
        problems=problems,
    )


def _sockets(root: Path) -> tuple[tuple[Socket, ...], tuple[Problem, ...]]:
    if not (root / LISTING).is_file():
        names = _folders(root / IMAGES) if (root / IMAGES).is_dir() else ()
        return tuple(Socket(slug=name, path=f"{IMAGES}/{name}", is_image=True) for name in names), ()
    try:
        document = read_json(root / LISTING)
    except (RecordError, OSError) as failure:
        what = f"it cannot be read ({str(failure).removeprefix(f'{root / LISTING} ')})"
        return (), (error(what, "a JSON list of sockets", _ASK, file=LISTING),)
    if not isinstance(document, list):
        what = f"it holds {brief(document)}"
        return (), (error(what, "a JSON list of sockets", _ASK, file=LISTING),)
    entries = [_socket(index, entry) for index, entry in enumerate(document)]
    problems = [entry for entry in entries if isinstance(entry, Problem)]
    sockets = [entry for entry in entries if isinstance(entry, Socket)]
    slugs = [socket.slug for socket in sockets]
    for slug in sorted({slug for slug in slugs if slugs.count(slug) > 1}):
        problems.append(error(f"it lists the slug {slug!r} twice", "each slug once", _ASK, file=LISTING))
    return tuple(sockets), tuple(problems)


def _socket(index: int, entry: Json) -> Socket | Problem:
    """Read one entry; ``socket`` is the platform's newer name of ``interface``, and both may be there."""
    expected = '{"socket": {"slug": "ct-image", "relative_path": "images/ct", …}, "image": {…}, …}'
    described = None
    if isinstance(entry, dict):
        described = entry.get("socket") if entry.get("socket") is not None else entry.get("interface")
    if not isinstance(entry, dict) or not isinstance(described, dict):
        what = f'entry {index} is {brief(entry)}, without an object "socket" or "interface"'
        return error(what, expected, _ASK, file=LISTING)
    slug, path = described.get("slug"), _inside(described.get("relative_path"))
    if not isinstance(slug, str) or not slug:
        return error(f'the "slug" of entry {index} is {brief(described.get("slug"))}', expected, _ASK, file=LISTING)
    if path is None:
        stated = brief(described.get("relative_path"))
        what = f'the "relative_path" of {slug!r} is {stated}'
        return error(what, "a path inside the input, e.g. images/ct", _ASK, file=LISTING)
    kind = described.get("super_kind")
    is_image = entry.get("image") is not None or (isinstance(kind, str) and kind.lower() == "image")
    is_file = entry.get("file") is not None and image_ending(path) is not None
    return Socket(slug=slug, path=path, is_image=is_image or is_file)


def _choose(sockets: Sequence[Socket], slug: str) -> Socket | None:
    """Return the socket of that slug; where none has it, the one whose folder below ``images`` has that name."""
    by_slug = next((socket for socket in sockets if socket.slug == slug), None)
    return by_slug or next((socket for socket in sockets if slug in socket.names), None)


def _no_socket(root: Path, sockets: Sequence[Socket], slug: str) -> Problem:
    where = LISTING if (root / LISTING).is_file() else f"{IMAGES}/"
    there = ", ".join(socket.slug for socket in sockets) or "nothing"
    remedy = "give the algorithm this input, or hand the model over again with the right --input-slugs"
    return error(f"there is no input {slug!r} in {where}; there is {there}", "every slug of the model", remedy)


def _image_of(root: Path, socket: Socket) -> str | Problem:
    """Return the one image file of a socket."""
    place = root / socket.path
    one = f"exactly one file, {_KINDS}"
    if not socket.is_image:
        return error(f"the input {socket.slug!r} is no image", "an image", "correct --input-slugs", file=socket.path)
    if place.is_file():
        files = [socket.path]
    elif place.is_dir():
        names = sorted(entry.name for entry in place.iterdir() if not entry.name.startswith(".") and entry.is_file())
        files = [f"{socket.path}/{name}" for name in names]
    else:
        remedy = "put the image there; the platform does it by the socket's relative path"
        return error(f"the folder of the input {socket.slug!r} is not there", one, remedy, file=socket.path)
    if len(files) != 1:
        names = [file.rsplit("/", 1)[-1] for file in files]
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        what = f"the folder of the input {socket.slug!r} holds {len(files)} files" + (f" ({shown})" if shown else "")
        return error(what, one, "leave one image in it: a container predicts one case", file=socket.path)
    if image_ending(files[0]) is None:
        what = f"the file of the input {socket.slug!r} is of no kind that can be read"
        return error(what, _KINDS, "convert it", file=files[0])
    return files[0]


def _folders(place: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in place.iterdir() if entry.is_dir() and not entry.name.startswith(".")))


def _inside(value: Json) -> str | None:
    """Return a stated path as it is written without ``./``; None where it leaves the input."""
    if not isinstance(value, str) or not value.strip("/") or "\0" in value or "\\" in value:
        return None
    path = PurePosixPath(value)
    return None if path.is_absolute() or ".." in path.parts or not path.parts else path.as_posix()
