"""The rehearsal of a handover: the entrypoint runs on made-up input, and its output meets the platform's rules."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnbox.errors import DataError
from nnbox.files import digest_file
from nnbox.geometry import Grid
from nnbox.imaging.integrity import file_findings
from nnbox.imaging.io import read_header, read_labels
from nnbox.layouts.grand_challenge import IMAGES, LISTING, find_images
from nnbox.records.handover import Handover, Rehearsal, RehearsalRun
from nnbox.stages.isolation import Isolation, JobFolders, code_folder, strongest_isolation
from nnbox.stages.journal import Listener
from nnbox.stages.rehearsal_image import median_image, patch_image, rehearsed_image
from nnbox.submission.bundle import ModelBundle
from nnbox.synthesize.algorithm_input import made_up_grid, write_algorithm_input

_RESERVED_GB = 1
_MODULE = ("-m", "nnbox")
_WATCH_SECONDS = 0.05
_LAST_LINES = 12
_HEADER_BYTES = 4096
# Which spacing, origin and direction a file states, up to what its text holds.
_CLOSE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a rehearsal is held under.

    Attributes:
        memory_gb: the memory that is asked of the platform, which keeps 1 GB of it.
        full_size: use the plan's median shape however large it is.
    """

    memory_gb: int
    full_size: bool

    @property
    def memory_mb(self) -> int:
        """What is left to the program, in MB."""
        return (self.memory_gb - _RESERVED_GB) * 1024


def rehearse(
    archive: Path, bundle: ModelBundle, scratch: Path, conditions: Conditions, listener: Listener
) -> Rehearsal:
    """Run the entrypoint on both forms of the platform's input, under its limits, and check what comes out.

    Args:
        archive: the model to be uploaded.
        bundle: what is in it.
        scratch: for inputs and outputs.
        conditions: memory and size of the image.
        listener: told what goes on.
    """
    handover = bundle.handover
    if handover is None:
        raise ValueError("a rehearsal needs a mapping")
    isolation = strongest_isolation(scratch, conditions.memory_mb)
    command = _entrypoint()
    median = median_image(bundle.plan, bundle.selection)
    first = rehearsed_image(bundle.plan, bundle.selection, full_size=conditions.full_size)
    runs = []
    for form, image in ((LISTING, first), (IMAGES, patch_image(bundle.plan, bundle.selection))):
        grid = made_up_grid(bundle.plan, image.shape_vox, image.spacing_mm)
        job = _Job(
            form=form,
            folders=JobFolders(scratch / f"job-{form}"),
            log=scratch / f"log-{form}.txt",
            grid=grid,
            handover=handover,
        )
        job.folders.make()
        write_algorithm_input(job.folders.input, bundle.plan, handover, grid, listed=form == LISTING)
        _unpack(archive, job.folders.model)
        size = " x ".join(map(str, image.shape_vox))
        listener(None, f"rehearsal with {form}: {size} voxels (z, y, x)")
        runs.append(job.run(isolation, command))
        shutil.rmtree(job.folders.root, ignore_errors=True)
    return Rehearsal(
        archive_sha256=digest_file(archive),
        archive_bytes=archive.stat().st_size,
        handover=handover,
        command=command,
        limits=isolation.words(),
        median_shape_vox=median.shape_vox,
        runs=tuple(runs),
    )


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack our own archive as the platform does."""
    with tarfile.open(archive) as packed:
        if hasattr(tarfile, "data_filter"):
            packed.extractall(folder, filter="data")
        else:  # the first releases of Python 3.11
            packed.extractall(folder)


def _entrypoint() -> tuple[str, ...]:
    """Return what the container starts; without the file, what does the same."""
    file = code_folder() / "entrypoint.py"
    return (sys.executable, str(file)) if file.is_file() else (sys.executable, *_MODULE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One job: where it lies, and what it should give."""

    form: str
    folders: JobFolders
    log: Path
    grid: Grid
    handover: Handover

    def run(self, isolation: Isolation, command: tuple[str, ...]) -> RehearsalRun:
        """Start it, watch it, look at what it left."""
        started = time.monotonic()
        with self.log.open("wb") as log:
            environment = isolation.environment(self.folders)
            if command[1:] == _MODULE:
                # What the entrypoint would say, where it is not installed.
                environment = {"NNBOX_INPUT": "/input", "NNBOX_OUTPUT": "/output"} | environment
            exit_code, peak_kb = _watch(isolation.command(self.folders, command), environment, log.fileno())
        seconds = time.monotonic() - started
        lines = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        outputs = tuple(
            sorted(
                path.relative_to(self.folders.output).as_posix()
                for path in self.folders.output.rglob("*")
                if not path.is_dir()
            )
        )
        defects = list(_exit_defects(exit_code)) or [*self._place_defects(outputs)]
        values: tuple[int, ...] = ()
        if not defects:
            target = self.folders.output / outputs[0]
            defects = list(label_map_defects(target, self._image_grid(), self.handover))
            values = _values(target)
        return RehearsalRun(
            form=self.form,
            shape_vox=self.grid.shape_vox,
            spacing_mm=self.grid.spacing_mm,
            exit_code=exit_code,
            seconds=round(seconds, 2),
            peak_memory_mb=round(peak_kb / 1024, 1),
            outputs=outputs,
            label_values=values,
            defects=tuple(defects),
            last_lines=tuple(lines),
        )

    def _image_grid(self) -> Grid:
        files = find_images(self.folders.input, self.handover.input_slugs).files
        return read_header(self.folders.input / files[0]).grid

    def _place_defects(self, outputs: tuple[str, ...]) -> Iterator[str]:
        folder = f"{IMAGES}/{self.handover.output_slug}"
        if len(outputs) != 1:
            found = ", ".join(outputs[:4]) + (", …" if len(outputs) > 4 else "")
            yield f"/output holds {len(outputs)} files ({found}) instead of one" if outputs else "/output is empty"
        elif Path(outputs[0]).parent.as_posix() != folder or not outputs[0].endswith(".mha"):
            yield f"/output/{outputs[0]} is not /output/{folder}/<name>.mha"


def _watch(command: tuple[str, ...], environment: dict[str, str], log: int) -> tuple[int, int]:
    """Run a program to its end; return its exit code and its largest resident memory in kB."""
    process = subprocess.Popen(
        command, env=environment, cwd=code_folder(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
    )
    peak = 0
    try:
        while (code := process.poll()) is None:
            peak = max(peak, _resident_kb(process.pid))
            time.sleep(_WATCH_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return code, peak


def _resident_kb(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def _exit_defects(code: int) -> Iterator[str]:
    if code < 0:
        yield f"the program was ended by signal {-code}" + (" (out of memory?)" if code == -9 else "")
    elif code:
        yield f"the program ended with exit code {code}"


def label_map_defects(file: Path, grid: Grid, handover: Handover) -> Iterator[str]:
    """Yield what the platform would not take of a label map, in words.

    Args:
        file: a MetaImage.
        grid: of the source image.
        handover: the values that may occur.
    """
    if damages := [finding.what for finding in file_findings(file)]:
        yield f"{file.name} is damaged: {'; '.join(damages)}"
        return
    try:
        header = read_header(file)
        labels, _ = read_labels(file)
    except DataError as error:
        yield str(error)
        return
    with file.open("rb") as stream:
        if b"\nCompressedData = True\n" not in stream.read(_HEADER_BYTES):
            yield f"{file.name} is not compressed"
    if not _same(header.grid, grid):
        yield f"its grid is not the image's: {header.grid}, expected {grid}"
    if header.pixel_type not in {"uint8", "int8"}:
        yield f"its voxels are {header.pixel_type}; the platform reads labels of 8-bit integers only"
    allowed = {0, *handover.label_values}
    if unknown := sorted(set(np.unique(labels).tolist()) - allowed):
        yield f"it holds the label values {unknown[:8]}; expected only {min(allowed)} to {max(allowed)}"


def _same(found: Grid, wanted: Grid) -> bool:
    if (found.dimension, found.shape_vox) != (wanted.dimension, wanted.shape_vox):
        return False
    return all(
        np.allclose(here, there, rtol=_CLOSE, atol=_CLOSE)
        for here, there in (
            (found.spacing_mm, wanted.spacing_mm),
            (found.origin_xyz_mm, wanted.origin_xyz_mm),
            (found.direction_xyz, wanted.direction_xyz),
        )
    )


def _values(file: Path) -> tuple[int, ...]:
    try:
        labels, _ = read_labels(file)
    except DataError:
        return ()
    return tuple(int(value) for value in np.unique(labels))
