"""Convert a picture from disk to a digit in the format of MNIST.

The procedure is that of LeCun et al. (1998), section III.A: normalize the size to 20x20 pixels while preserving the
aspect ratio, with anti-aliasing, and place the digit in 28x28 pixels with its center of mass in the middle. The middle
is index 14, as in the 60,000 training digits.
"""

import warnings

import numpy as np
from PIL import Image, ImageOps

from lstm_ae.arrays import Float32Array
from lstm_ae.data.digits import MAX_BYTES
from lstm_ae.data.text import open_stable_file
from lstm_ae.errors import Code, DataError

ADVICE = "Pass a PNG or JPEG that shows one digit on a plain ground"

MAX_PIXELS = 100_000_000  # more than a phone camera has; about 1 GB while resizing

MIN_CONTRAST = 24  # of 255; less is paper or noise


def read_image(path: str) -> Float32Array:
    """Return the picture of one digit in the format of MNIST: light on dark, resized, and centered.

    Color, transparency, size, and polarity are arbitrary. A picture of 28x28 pixels, light on dark, is returned
    unchanged except for the conversion to grayscale.

    Returns:
        `(28, 28)` float32, integers from 0 to 255.

    Raises:
        DataError: if the file is not a regular file or not a PNG or JPEG, is too large, or is blank.
    """
    gray = _read_grayscale(path)
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    ground = np.median(border)
    if np.ptp(gray) < MIN_CONTRAST:
        raise DataError(
            f"{path!r} must show a digit. Received: pixels that are all alike. {ADVICE}", code=Code.DIGIT_FILE
        )
    dark_ground = ground <= (float(gray.min()) + float(gray.max())) / 2
    if gray.shape == (28, 28) and dark_ground and ground <= 16 and gray.max() >= 128:
        return np.rint(gray)
    ink = np.clip(gray - ground if dark_ground else ground - gray, 0, None)
    noise = float(np.abs(border - ground).max())
    return _center_digit(_crop_and_stretch(ink, noise))


def _read_grayscale(path: str) -> Float32Array:
    """Return the brightness `(height, width)`, from 0 to 255, upright; transparent pixels are white."""
    with open_stable_file(path, MAX_BYTES, ADVICE) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(file, formats=("PNG", "JPEG")) as source:
                if source.width * source.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                mode = source.mode
                image = ImageOps.exif_transpose(source).convert("RGBA")
                image.thumbnail((2048, 2048))
        except Image.DecompressionBombError:
            raise DataError(
                f"{path!r} must have at most {MAX_PIXELS:,} pixels. Received: more. Scale it down", code=Code.DIGIT_FILE
            ) from None
        except Exception:  # Pillow's decoders raise many kinds; all mean that the picture cannot be decoded
            raise DataError(
                f"{path!r} is not a readable picture: it is damaged or has another format. {ADVICE}",
                code=Code.DIGIT_FILE,
            ) from None
    if mode.startswith("I"):
        raise DataError(
            f"{path!r} must have 8 bits per pixel. Received: 16. Convert it to 8 bits", code=Code.DIGIT_FILE
        )
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("L"), np.float32)


def _crop_and_stretch(ink: Float32Array, noise: float) -> Float32Array:
    """Return the ink cropped to its bounding box and stretched to the range from 0 to 255.

    The noise of the background becomes 0, and the median of the strokes becomes 255.
    """
    middle = float(ink.max()) / 2
    strokes = ink > middle
    low, high = min(middle / 2, noise), float(np.median(ink[strokes]))
    rows, columns = np.flatnonzero(strokes.any(1)), np.flatnonzero(strokes.any(0))
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return ((box - low) / (high - low) * 255).clip(0, 255).astype(np.float32)


def _center_digit(box: Float32Array) -> Float32Array:
    """Return the box with 20 pixels on its longer side in 28x28 pixels, its center of mass at index 14 if it fits."""
    factor = 20 / max(box.shape)
    height, width = (max(1, round(side * factor)) for side in box.shape)
    image = Image.fromarray(box).resize((width, height), Image.Resampling.BICUBIC)
    digit = np.asarray(image, np.float32).clip(0, 255)
    centers = np.array(
        [np.average(np.arange(side), weights=digit.sum(axis=1 - k)) for k, side in enumerate(digit.shape)]
    )
    top, left = np.clip(np.rint(14 - centers), 0, 28 - np.array(digit.shape)).astype(int)
    result = np.zeros((28, 28), np.float32)
    result[top : top + height, left : left + width] = np.rint(digit)
    return result
