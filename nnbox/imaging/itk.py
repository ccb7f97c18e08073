"""The SimpleITK door: files of every format in and out as arrays; nothing else in nnbox knows SimpleITK.

What the formats hold differs, so four conventions, each chosen here (Source: own):

* The last axis of a 4D file and the components of a vector file are channels. An RGB picture is three channels in 2D;
  in 3D, 8-bit vectors of three or four are a rendering and refused.
* A 2D file is a volume of one slice, with spacing 1.0 along z.
* PNG, TIFF and BMP state a printing resolution, not millimetres: it is ignored; their spacing is 1.0, their origin 0.
* The reader follows from the file's ending, never from a guess at its content.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import contextlib
import math
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name its documentation uses
from numpy.typing import NDArray

from nnbox.errors import ResourceError
from nnbox.geometry import Grid
from nnbox.imaging.header import MAX_VOXELS, ImageHeader, has_grey_palette, has_utf8_name, lack_of_memory, refused
from nnbox.imaging.text_header import meta_defect
from nnbox.records.endings import IMAGE_ENDINGS, PICTURE_ENDINGS, image_ending

_READERS = {
    ".nii.gz": "NiftiImageIO",
    ".nii": "NiftiImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".nrrd": "NrrdImageIO",
    ".png": "PNGImageIO",
    ".tif": "TIFFImageIO",
    ".tiff": "TIFFImageIO",
    ".bmp": "BMPImageIO",
}
_SMALLEST_MM, _LARGEST_MM = 1e-6, 1e4  # from electron microscopy to more than any scanner's bore
_MORE_MEMORY = "give more memory, resample the image, or --exclude its case"
_SCALARS = {
    "uint8": (sitk.sitkUInt8, sitk.sitkVectorUInt8),
    "int8": (sitk.sitkInt8, sitk.sitkVectorInt8),
    "uint16": (sitk.sitkUInt16, sitk.sitkVectorUInt16),
    "int16": (sitk.sitkInt16, sitk.sitkVectorInt16),
    "uint32": (sitk.sitkUInt32, sitk.sitkVectorUInt32),
    "int32": (sitk.sitkInt32, sitk.sitkVectorInt32),
    "uint64": (sitk.sitkUInt64, sitk.sitkVectorUInt64),
    "int64": (sitk.sitkInt64, sitk.sitkVectorInt64),
    "float32": (sitk.sitkFloat32, sitk.sitkVectorFloat32),
    "float64": (sitk.sitkFloat64, sitk.sitkVectorFloat64),
}
_PIXEL_TYPES = {pixel: name for name, pixels in _SCALARS.items() for pixel in pixels}

# Its warnings would reach the user's terminal without a case or a file.
sitk.ProcessObject.SetGlobalWarningDisplay(False)  # noqa: FBT003 - SimpleITK takes no keyword here


def header_of(path: Path, head: bytes | None = None) -> ImageHeader:
    """Read a file's grid, channel count and pixel type without its voxels.

    Args:
        path: the file.
        head: what a NIfTI file unpacks to up to its voxels, where that is known: saves opening the file again.

    Raises:
        ImageReadError: missing, unreadable, not 2D or 3D, RGB in 3D, complex, empty or absurdly large.
    """
    with _reader(path, head) as reader:
        reader.ReadImageInformation()
        return _header(path, reader)


def volume_of(path: Path) -> tuple[NDArray[np.generic], ImageHeader]:
    """Read a file as it is: array (channel, z, y, x) of the stored type, and its header.

    Raises:
        ImageReadError: see `header_of`; or the voxels cannot be read.
    """
    with _reader(path) as reader:
        reader.ReadImageInformation()
        header = _header(path, reader)
        _require_memory(path, header)
        image = reader.Execute()
        values: NDArray[np.generic] = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        values = np.moveaxis(values, -1, 0)[: header.channels]
    return values.reshape(header.channels, *header.grid.shape_vox), header


def write_volume(target: Path, values: NDArray[np.unsignedinteger], grid: Grid, ending: str) -> None:
    """Write a (z, y, x) array, compressed where the format can be.

    Args:
        target: the file; its own ending does not matter.
        values: of the grid's shape.
        grid: spacing, origin and direction are written as they were read.
        ending: the format.

    Raises:
        ResourceError: it could not be written.
    """
    image = sitk.GetImageFromArray(values[0] if grid.dimension == 2 else values)
    image.SetSpacing(grid.spacing_mm[::-1][: grid.dimension])
    image.SetOrigin(grid.origin_xyz_mm)
    image.SetDirection(grid.direction_xyz)
    # A .mhd header would name its data file by the temporary name; MetaImage allows the data inside the header instead,
    # which only the ending .mha makes SimpleITK do.
    written = target.with_suffix(".mha") if ending == ".mhd" else target
    try:
        sitk.WriteImage(image, str(written), useCompression=ending not in {".nii", ".bmp"})
        written.replace(target)
    except RuntimeError as error:
        raise ResourceError(f"{target.parent}: the label map could not be written ({_reason(error)})") from None
    finally:
        if written != target:
            written.unlink(missing_ok=True)


def ending_of(path: Path) -> str:
    """Return the ending that chooses the format.

    Raises:
        ImageReadError: it is none of ours.
    """
    ending = image_ending(path.name)
    if ending is None:
        raise refused(
            path, "its ending is not supported", "one of " + ", ".join(IMAGE_ENDINGS), "convert it, e.g. to .nii.gz"
        )
    return ending


@contextlib.contextmanager
def _reader(path: Path, head: bytes | None = None) -> Iterator[sitk.ImageFileReader]:
    """Yield a reader set to the file; ITK's errors inside leave as `ImageReadError`."""
    name = _READERS[ending_of(path)]
    if not path.is_file():
        raise refused(path, "it is not there, or not a file", "an image file", "put it there, or --exclude its case")
    if not has_utf8_name(path):
        raise refused(path, "its name is no valid UTF-8", "a readable name", "rename it")  # SimpleITK would abort
    if name == "MetaImageIO":
        _require_sound_meta(path)
    with contextlib.ExitStack() as stack:
        alone = _alone(path, head, stack) if name == "NiftiImageIO" else path
        try:
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(alone))
            reader.SetImageIO(name)
            yield reader
        except (RuntimeError, UnicodeError, MemoryError) as error:
            raise refused(path, f"it cannot be read ({_reason(error)})", f"a whole {ending_of(path)} file") from None


def _require_sound_meta(path: Path) -> None:
    try:
        defect = meta_defect(path)
    except OSError as error:
        raise refused(path, f"it cannot be read ({error.strerror})", "a readable file", "check permissions") from None
    if defect is not None:
        raise refused(path, *defect, "correct the header, or --exclude its case")


def _require_memory(path: Path, header: ImageHeader) -> None:
    voxels = header.channels * math.prod(header.grid.shape_vox)
    if lack := lack_of_memory(path, voxels, voxels * np.dtype(header.pixel_type).itemsize):
        raise refused(path, *lack, _MORE_MEMORY)


def _alone(path: Path, head: bytes | None, stack: contextlib.ExitStack) -> Path:
    """Return what to open for a NIfTI file: its head in a file of its own, or the file out of sight of others."""
    if head is not None:
        # Unpacking the head of a compressed file takes ITK five times as long as reading it from a file. Where there is
        # no temporary folder, it does that.
        with contextlib.suppress(OSError):
            alone = stack.enter_context(tempfile.NamedTemporaryFile(suffix=".nii", buffering=0))  # noqa: SIM115
            alone.write(head)
            return Path(alone.name)
    # Asked for x.nii.gz, the NIfTI library takes its voxels from x.nii where that lies beside it.
    if path.name.lower().endswith(".gz") and path.with_suffix("").exists():
        link = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "image.nii.gz"
        link.symlink_to(path.resolve())
        return link
    return path


def _header(path: Path, reader: sitk.ImageFileReader) -> ImageHeader:
    components = _components(path, reader.GetNumberOfComponents())
    pixel = reader.GetPixelIDValue()
    if pixel not in _PIXEL_TYPES:
        name = sitk.GetPixelIDValueAsString(pixel)
        raise refused(path, f"its voxels are of type '{name}'", "real numbers", "export the magnitude as real numbers")
    size = tuple(reader.GetSize())
    if min(size) < 1 or math.prod(size) * components > MAX_VOXELS:
        raise refused(path, f"its header claims a size of {size} with {components} channel(s)", "a plausible size")
    dimension, extra = _layout(path, size, components, _PIXEL_TYPES[pixel])
    grid = _grid(path, reader, dimension)
    return ImageHeader(grid=grid, channels=extra * components, pixel_type=_PIXEL_TYPES[pixel])


def _layout(path: Path, size: tuple[int, ...], components: int, pixel_type: str) -> tuple[int, int]:
    """Return (2 or 3, channels along a fourth axis)."""
    if image_ending(path.name) in PICTURE_ENDINGS and len(size) != 2:
        raise refused(path, f"it has {size[-1]} pages", "one 2D picture", "convert the stack, e.g. to .nii.gz")
    if len(size) == 3 and pixel_type == "uint8" and components in {3, 4}:
        what = f"it is an RGB volume ({components} 8-bit numbers per voxel)"
        raise refused(path, what, "channels of a 3D image as a 4D file or one file each", "convert it to grey values")
    if len(size) in {2, 3}:
        return len(size), 1
    if len(size) == 4 and components == 1:
        return 3, size[3]
    what = f"it has {len(size)} dimensions" + (f" and {components} numbers per voxel" if components > 1 else "")
    raise refused(path, what, "2D, 3D, or 4D with channels last", "split it into one 3D file per channel")


def _grid(path: Path, reader: sitk.ImageFileReader, dimension: int) -> Grid:
    size: tuple[int, ...] = tuple(reader.GetSize())
    stored = len(size)
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    spacing, origin = tuple(reader.GetSpacing())[:dimension], tuple(reader.GetOrigin())[:dimension]
    matrix = np.array(reader.GetDirection()).reshape(stored, stored)[:dimension, :dimension]
    if image_ending(path.name) in PICTURE_ENDINGS:
        spacing = (1.0,) * dimension
        origin = (0.0,) * dimension
    if not all(_SMALLEST_MM <= value <= _LARGEST_MM for value in spacing):
        expected = f"spacings between {_SMALLEST_MM:g} and {_LARGEST_MM:g} mm"
        raise refused(path, f"its spacing is {spacing[::-1]} mm (z, y, x)", expected, "correct the header")
    if not (all(map(math.isfinite, origin)) and np.all(np.isfinite(matrix)) and abs(np.linalg.det(matrix)) > 1e-3):
        raise refused(path, "its origin or directions are not usable", "finite, independent axes", "correct the header")
    return Grid(
        shape_vox=(size[2] if dimension == 3 else 1, size[1], size[0]),
        spacing_mm=(spacing[2] if dimension == 3 else 1.0, spacing[1], spacing[0]),
        origin_xyz_mm=origin,
        direction_xyz=tuple(float(value) for value in matrix.ravel()),
        dimension=dimension,
    )


def _components(path: Path, stored: int) -> int:
    """Return the numbers per voxel; a grey BMP, which ITK expands through its palette, has one."""
    return 1 if image_ending(path.name) == ".bmp" and stored == 3 and has_grey_palette(path) else stored


def _reason(error: BaseException) -> str:
    """Return the last sentence of an ITK error without its source lines and addresses."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = re.sub(r"^(ITK ERROR|sitk::ERROR): ?", "", lines[-1] if lines else type(error).__name__)
    return re.sub(r"\(0x[0-9a-f]+\)|/tmp/\S+", "", text)[:200]
