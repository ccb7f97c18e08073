"""Where the model of a prediction lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nnbox.errors import UsageError
from nnbox.stages.options import PredictOptions
from nnbox.submission.contents import MANIFEST

PLATFORM_MODEL = Path("/opt/ml/model")
"""Where grand-challenge.org unpacks a model."""
_PLACES = (PLATFORM_MODEL, Path("/model"), Path("/weights"))


def find_model(named: Path | None, root: Path, output: Path | None, task: str | None = None) -> Path | None:
    """Return the model bundle: the named one, else the first of the known places that holds one.

    Known places, in this order: /opt/ml/model, /model, /weights, the output folder, ``<input>/nnbox``. With several
    tasks each has its own folder in such a place.
    """
    if named is not None:
        own = named / (task or root.name)
        found = (place for folder in ((own, named) if task is not None else (named, own)) for place in bundles(folder))
        return next(found, named)
    places = [*_PLACES, *([output] if output is not None else []), root / "nnbox"]
    for place in places:
        for folder in [place / task] if task is not None else [place]:
            if (bundle := next(bundles(folder), None)) is not None:
                return bundle
    return None


def bundles(place: Path) -> Iterator[Path]:
    """Yield what may be a bundle at a place: the place itself, its ``model`` folder, its archive."""
    if place.is_file():
        yield place
    for folder in (place, place / "model"):
        if (folder / MANIFEST).is_file():
            yield folder
    archive = place / "model.tar.gz"
    if archive.is_file():
        yield archive


def require_model(options: PredictOptions, task: str | None = None) -> Path:
    """Return the model to predict with.

    Raises:
        UsageError: none is named and none is found.
    """
    model = find_model(options.model, options.input, options.output, task)
    if model is None:
        looked = ", ".join(str(place) for place in (*_PLACES, options.output, options.input / "nnbox"))
        raise UsageError(
            f"no model was found in {looked}. What to do: name one with --model, mount one at /model, or train first."
        )
    return model
