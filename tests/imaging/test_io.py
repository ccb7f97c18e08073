"""Files become arrays (channel, z, y, x) on their grid, and label maps go back on the grid they came from."""

import copy

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from nnbox.errors import DataError
from nnbox.geometry import Grid
from nnbox.imaging.header import ImageReadError, whole_numbers
from nnbox.imaging.io import read_header, read_image, read_labels, write_labels

VOLUMES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")
PICTURES = (".png", ".tif", ".tiff", ".bmp")
OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


def write(path, array, *, spacing=(0.7, 0.8, 2.5), origin=(-4.0, 5.0, 60.0), direction=OBLIQUE, vector=False):
    image = sitk.GetImageFromArray(array, isVector=vector)
    dimension = image.GetDimension()
    if dimension == 3:
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        image.SetDirection(direction)
    sitk.WriteImage(image, str(path))
    return path


def volume(dtype=np.int16, shape=(3, 4, 5)):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


@pytest.mark.parametrize("ending", VOLUMES)
def test_a_volume_is_read_with_its_grid_in_every_format(tmp_path, ending):
    path = write(tmp_path / f"a b ü{ending}", volume())
    image, grid = read_image([path])
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, volume()[np.newaxis])
    assert (grid.shape_vox, grid.dimension) == ((3, 4, 5), 3)
    np.testing.assert_allclose(grid.spacing_mm, (2.5, 0.8, 0.7), rtol=1e-6)
    np.testing.assert_allclose(grid.origin_xyz_mm, (-4, 5, 60), rtol=1e-6)
    np.testing.assert_allclose(grid.direction_xyz, OBLIQUE, atol=1e-6)
    header = read_header(path)
    assert (header.grid, header.channels, header.pixel_type) == (grid, 1, "int16")


@pytest.mark.parametrize("ending", PICTURES)
def test_a_picture_is_a_volume_of_one_slice_without_millimetres(tmp_path, ending):
    path = tmp_path / f"p{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(volume(np.uint8, (6, 7))), str(path))
    image, grid = read_image([path])
    np.testing.assert_array_equal(image, volume(np.uint8, (6, 7))[np.newaxis, np.newaxis])
    assert grid == Grid(
        shape_vox=(1, 6, 7),
        spacing_mm=(1.0, 1.0, 1.0),
        origin_xyz_mm=(0.0, 0.0),
        direction_xyz=(1.0, 0.0, 0.0, 1.0),
        dimension=2,
    )


def test_channels_come_from_a_fourth_axis_from_vectors_and_from_several_files(tmp_path):
    array = volume(np.int16, (2, 3, 4, 5))
    four = tmp_path / "four.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(four))
    vector = write(tmp_path / "vector.nrrd", np.moveaxis(array, 0, -1), vector=True)
    files = [write(tmp_path / f"c{index}.mha", part) for index, part in enumerate(array)]
    for paths in ([four], [vector], files):
        np.testing.assert_array_equal(read_image(paths)[0], array)
    assert read_header(four).channels == read_header(vector).channels == 2


def test_rgb_is_three_channels_in_2d_and_refused_in_3d(tmp_path):
    rgb = volume(np.uint8, (6, 7, 3))
    sitk.WriteImage(sitk.GetImageFromArray(rgb, isVector=True), str(tmp_path / "rgb.png"))
    np.testing.assert_array_equal(read_image([tmp_path / "rgb.png"])[0][:, 0], np.moveaxis(rgb, -1, 0))
    cube = write(tmp_path / "cube.mha", volume(np.uint8, (2, 4, 5, 3)), vector=True)
    with pytest.raises(ImageReadError, match="RGB volume"):
        read_header(cube)


def test_channel_files_of_different_size_or_with_several_channels_are_refused(tmp_path):
    one = write(tmp_path / "one.nii.gz", volume())
    other = write(tmp_path / "other.nii.gz", volume(shape=(3, 4, 6)))
    four = tmp_path / "four.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(volume(shape=(2, 3, 4, 5)), isVector=False), str(four))
    with pytest.raises(ImageReadError, match=r"\(3, 4, 6\)"):
        read_image([one, other])
    with pytest.raises(ImageReadError, match="2 channels"):
        read_image([one, four])


def test_nonfinite_voxels_become_zero_only_on_demand(tmp_path):
    array = volume(np.float32)
    array[0, 0, :3] = (np.nan, np.inf, -np.inf)
    path = write(tmp_path / "n.mha", array)
    assert np.count_nonzero(~np.isfinite(read_image([path])[0])) == 3
    np.testing.assert_array_equal(read_image([path], replace_nonfinite=True)[0][0, 0, 0, :3], 0)


def test_a_number_beyond_float32_becomes_infinite_without_a_warning(tmp_path):
    path = write(tmp_path / "big.mha", np.full((2, 2, 2), 1e300))
    assert np.isinf(read_image([path])[0]).all()


def test_label_maps_stored_as_floats_are_read_and_fractions_refused(tmp_path):
    whole = write(tmp_path / "w.nii.gz", volume(np.float32))
    labels, _ = read_labels(whole)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, volume())
    with pytest.raises(ImageReadError, match="no whole numbers"):
        read_labels(write(tmp_path / "f.nii.gz", volume(np.float32) + 0.5))
    sitk.WriteImage(sitk.GetImageFromArray(volume(shape=(2, 3, 4, 5)), isVector=False), str(tmp_path / "c.nii.gz"))
    with pytest.raises(ImageReadError, match="2 numbers per voxel"):
        read_labels(tmp_path / "c.nii.gz")


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0**40, -(2.0**40)])
def test_values_that_are_no_32_bit_numbers_are_no_labels(value):
    assert whole_numbers(np.array([0.0, value])) is None


@pytest.mark.parametrize("ending", VOLUMES)
@pytest.mark.parametrize(("highest", "stored"), [(1, "uint8"), (255, "uint8"), (256, "uint16"), (70000, "uint32")])
def test_labels_come_back_on_their_grid_as_the_smallest_unsigned_type(tmp_path, ending, highest, stored):
    _, grid = read_image([write(tmp_path / f"image{ending}", volume())])
    labels = np.zeros(grid.shape_vox, np.int32)
    labels[1, 2, 3] = highest
    path = tmp_path / "out" / f"labels{ending}"
    write_labels(path, labels, grid)
    back, back_grid = read_labels(path)
    np.testing.assert_array_equal(back, labels)
    assert read_header(path).pixel_type == stored
    assert back_grid.shape_vox == grid.shape_vox
    np.testing.assert_allclose(back_grid.spacing_mm, grid.spacing_mm, rtol=1e-6)
    np.testing.assert_allclose(back_grid.origin_xyz_mm, grid.origin_xyz_mm, rtol=1e-6)
    np.testing.assert_allclose(back_grid.direction_xyz, grid.direction_xyz, atol=1e-6)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", PICTURES)
def test_2d_labels_come_back_as_pictures(tmp_path, ending):
    sitk.WriteImage(sitk.GetImageFromArray(volume(np.uint8, (6, 7))), str(tmp_path / f"p{ending}"))
    _, grid = read_image([tmp_path / f"p{ending}"])
    labels = volume(np.int32, (1, 6, 7)) % 3
    write_labels(tmp_path / f"l{ending}", labels, grid)
    np.testing.assert_array_equal(read_labels(tmp_path / f"l{ending}")[0], labels)


def test_labels_that_a_format_cannot_hold_are_refused(tmp_path):
    _, grid = read_image([write(tmp_path / "image.nii.gz", volume())])
    labels = np.zeros(grid.shape_vox, np.int32)
    with pytest.raises(ImageReadError, match="3D"):
        write_labels(tmp_path / "l.png", labels, grid)
    with pytest.raises(ValueError, match="do not fit"):
        write_labels(tmp_path / "l.nii.gz", labels - 1, grid)
    with pytest.raises(ValueError, match="do not fit"):
        write_labels(tmp_path / "l.nii.gz", labels[1:], grid)
    with pytest.raises(ImageReadError, match="not supported"):
        write_labels(tmp_path / "l.xyz", labels, grid)
    assert [path.name for path in tmp_path.iterdir()] == ["image.nii.gz"]


def test_a_voxel_file_beside_a_compressed_one_is_not_mistaken_for_it(tmp_path):
    compressed = write(tmp_path / "x.nii.gz", volume())
    write(tmp_path / "x.nii", volume() + 1)
    np.testing.assert_array_equal(read_image([compressed])[0][0], volume())


def test_what_cannot_be_read_is_a_data_error_in_words(tmp_path):
    (tmp_path / "rubbish.nrrd").write_bytes(b"rubbish")
    (tmp_path / "folder.nii.gz").mkdir()
    complex_image = sitk.RealAndImaginaryToComplex(*[sitk.GetImageFromArray(volume(np.float32))] * 2)
    sitk.WriteImage(complex_image, str(tmp_path / "complex.nii.gz"))
    sitk.WriteImage(
        sitk.JoinSeries([sitk.JoinSeries([sitk.Image(2, 2, 2, sitk.sitkUInt8)] * 2)] * 2), str(tmp_path / "five.nii.gz")
    )
    for name in ("rubbish.nrrd", "folder.nii.gz", "missing.nii.gz", "notes.txt", "complex.nii.gz", "five.nii.gz"):
        with pytest.raises(DataError, match=name.replace(".", r"\.")) as caught:
            read_header(tmp_path / name)
        assert "What to do" in str(caught.value)


def test_the_error_survives_the_way_out_of_a_worker_process(tmp_path):
    error = ImageReadError(tmp_path, "bad", expected="good", remedy="repair it")
    again = copy.copy(error)  # rebuilt as a pipe between processes rebuilds it
    assert (again.path, again.what, str(again)) == (error.path, "bad", str(error))


def test_a_real_image_keeps_its_header(shared):
    path = shared / "data" / "Task11_SarcomaCT" / "imagesTr" / "sts_001.nii.gz"
    image, grid = read_image([path])
    reference = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(image[0], sitk.GetArrayFromImage(reference))
    assert (grid.origin_xyz_mm, grid.direction_xyz) == (reference.GetOrigin(), reference.GetDirection())
    assert grid.spacing_mm == reference.GetSpacing()[::-1]
