import gzip
import struct

import numpy as np
import pytest

from benchmarks.image_classes.data import fashion, fashion_folder
from benchmarks.image_classes.idx import MOST_BYTES, read_idx

NAME = "t10k-images-idx3-ubyte"


def _idx(values, *, kind=8):
    header = bytes([0, 0, kind, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.tobytes()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_files_made_by_hand_are_read(tmp_path, images, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(_idx(images)))
    np.testing.assert_array_equal(read_idx(path, ndim=3), images)

    path.write_bytes(pack(b"\0\0\x08\x01\0\0\0\x03\x07\x00\xff"))
    assert read_idx(path, ndim=1).tolist() == [7, 0, 255]


def _declared(*shape):
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


HOSTILE = {
    "nothing": (b"", "got nothing"),
    "wrong magic": (b"\x89PNG" + bytes(40), "beginning with 00000803, got 89504e47"),
    "floats": (bytes([0, 0, 0x0D, 3]) + bytes(40), "got 00000d03"),
    "labels": (_declared(4) + bytes(4), "got 00000801"),
    "header cut": (_declared(1, 2, 2)[:9], "got 5 of 12 bytes"),
    "values cut": (_declared(2, 2, 2) + bytes(7), "expected 8 values .* got only 7"),
    "values go on": (_declared(2, 2, 2) + bytes(9), "expected 8 values .* got more"),
    "huge": (_declared(2**32 - 1, 2**32 - 1, 2**32 - 1), "declares 7922816"),
    "just too large": (_declared(MOST_BYTES + 1, 1, 1), f"1 to {MOST_BYTES} values"),
    "empty": (_declared(0, 28, 28), "declares 0"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_words(tmp_path, case, packed):
    content, said = HOSTILE[case]
    path = tmp_path / "hostile"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=said) as caught:
        read_idx(path, ndim=3)
    assert str(caught.value).startswith(str(path))


def test_a_damaged_gzip_file_is_refused(tmp_path, images):
    whole = gzip.compress(_idx(images))
    changed = bytearray(whole)
    changed[1000] ^= 1
    path = tmp_path / "damaged"
    for damaged in (whole[:-900], bytes(changed), whole[:2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="expected a readable idx file"):
            read_idx(path, ndim=3)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"absent: expected a readable idx file"):
        read_idx(tmp_path / "absent", ndim=3)


def test_no_more_is_unpacked_than_the_header_declares(tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(_declared(1, 2, 2) + bytes(2**27)))
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(ValueError, match="got more"):
        read_idx(path, ndim=3)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_fashion_is_found_where_it_is_named(tmp_path, monkeypatch, images):
    monkeypatch.setenv("BAYESNN_FASHION_MNIST", str(tmp_path))
    with pytest.raises(ValueError, match=r"expected Fashion-MNIST's .* got no such file; install"):
        fashion_folder(None)
    (tmp_path / NAME).write_bytes(_idx(images))
    assert fashion_folder(None) == tmp_path
    np.testing.assert_allclose(fashion(tmp_path), images / 255)

    other = tmp_path / "other"
    other.mkdir()
    (other / f"{NAME}.gz").write_bytes(gzip.compress(_idx(images[:1])))
    assert fashion_folder(other) == other
    assert fashion(other).shape == (1, 28, 28)

    monkeypatch.delenv("BAYESNN_FASHION_MNIST")
    monkeypatch.setattr("benchmarks.image_classes.data.FASHION_FOLDER", tmp_path / "absent")
    assert fashion_folder(None) is None


def test_images_of_another_size_are_refused(tmp_path):
    (tmp_path / NAME).write_bytes(_idx(np.zeros((2, 8, 8), dtype=np.uint8)))
    with pytest.raises(ValueError, match="expected images of 28×28 pixels"):
        fashion(tmp_path)
