"""Tests of the content of figures, including single items, gaps, and unusual names."""

import io
import zoneinfo

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lstm_ae.plots import base, classes, digits, forecasts, lines, prices, signals

ODD = ["$A_B$", "_HIDDEN", "Consolidated Holdings of Somewhere International", "日本"]
RNG = np.random.default_rng(0)
DAYS = np.arange("2013-01-01", "2013-01-31", dtype="datetime64[D]")


def walks(count, days=30):
    return 100 * np.exp(np.cumsum(RNG.normal(0, 0.01, (count, days)), axis=1))


def texts(drawn):
    return [text.get_text() for text in drawn.findobj(matplotlib.text.Text) if text.get_text()]


def keys(drawn):
    return [text.get_text() for text in drawn.legends[0].get_texts()]


def checked(drawn):
    """Draw a figure, check that it contains no formulas despite `$`, and return it."""
    assert isinstance(drawn, Figure)
    # Read only the header, because decoding an image takes nearly as long as drawing it.
    with Image.open(io.BytesIO(base.png(drawn))) as picture:
        assert picture.width == round(200 * drawn.get_figwidth())
    for text in drawn.findobj(matplotlib.text.Text):
        if "A_B" in text.get_text():
            assert not text.get_parse_math()
    return drawn


def history(epochs):
    loss = 0.02 * np.exp(-np.arange(epochs) / 2.0)
    return {
        "epoch": np.arange(1, epochs + 1),
        "loss": loss,
        "val_loss": np.where(np.arange(epochs) > 5, 1.0, loss),
        "label_accuracy": 1 - loss,
        "val_label_accuracy": 1 - 2 * loss,
    }


PANELS = [base.HistoryPanel("loss", "Loss", "log"), base.HistoryPanel("label_accuracy", "Accuracy", "percent")]


@pytest.mark.parametrize("epochs", [1, 60])
def test_curves_show_training_and_validation(epochs):
    drawn = checked(base.curves(history(epochs), PANELS))
    loss, accuracy = drawn.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel(), loss.get_xlabel()) == ("Loss", "Accuracy (%)", "Epoch")
    assert len(loss.lines) == 3
    assert loss.get_yscale() == ("log" if epochs > 1 else "linear")
    np.testing.assert_allclose(accuracy.lines[1].get_ydata(), 100 * history(epochs)["val_label_accuracy"])
    best = min(epochs, 6)
    assert keys(drawn) == ["Training", "Validation", f"Lowest validation loss: epoch {best}"]
    assert list(loss.lines[2].get_xdata()) == [best, best]


def test_curves_accept_an_untrained_start_and_missing_values():
    drawn = checked(base.curves({"epoch": [0, 1, 2], "loss": [np.nan, 1, 1], "val_loss": [2, 3, 4]}, PANELS[:1]))
    assert keys(drawn)[-1] == "Lowest validation loss: epoch 0 (the untrained start)"
    assert list(drawn.axes[0].lines[2].get_xdata()) == [0, 0]
    drawn = checked(base.curves({"epoch": [1, 2], "loss": [np.nan, 0.0]}, PANELS[:1]))
    assert keys(drawn) == ["Training"]
    without = history(3) | {"val_loss": [np.nan] * 3}
    assert keys(checked(base.curves(without, PANELS))) == ["Training", "Validation"]
    assert len(checked(base.curves(history(3), PANELS * 2 + PANELS[:1])).axes) == 5


def test_png_is_reproducible_and_preserves_rcparams():
    before = dict(matplotlib.rcParams)
    made = [base.with_title(base.curves(history(5), PANELS), "$A_B$ " * 40) for _ in range(2)]
    first, second = (base.png(drawn) for drawn in made)
    assert first.startswith(b"\x89PNG")
    assert first == second == base.png(made[0])
    assert b"Software" not in first
    assert dict(matplotlib.rcParams) == before
    assert "\n" in made[0].get_suptitle()


def test_numbers_ticks_and_shortened_names_are_formatted():
    assert [base.number(x) for x in (0, 1234.5, -0.5, 1.67e-4, np.inf)] == ["0", "1,234", "−0.500", "1.67e−4", "n/a"]
    ticks = [base.tick_label(x) for x in (0, -0.0, 1250, 0.1 + 0.2, -2.5, 1e-17, -5e-8)]
    assert ticks == ["0", "0", "1,250", "0.3", "−2.5", "0", "−5e−08"]
    assert base.shorten("a\nb\x00 " + "c" * 30, 10) == "a b ccccc…"


def test_signals_shade_the_damped_segment():
    drawn = checked(signals.signals(RNG.random((3, 50)), np.full(3, 25), half_width=5))
    assert len(drawn.axes) == 3
    box = drawn.axes[0].patches[0].get_extents().transformed(drawn.axes[0].transData.inverted())
    assert (round(box.x0, 6), round(box.x1, 6)) == (19.5, 30.5)
    assert drawn.axes[0].get_title("left") == "Sequence 1: steps 20 to 30 damped"


@pytest.mark.parametrize(("count", "steps", "dates"), [(1, 1, True), (2, 30, True), (2, 30, False)])
def test_comparison_shows_values_and_errors(count, steps, dates):
    truth = walks(count, steps)
    x = count * [DAYS[:steps] if dates else np.arange(steps)]
    drawn = checked(lines.comparison(x, truth, truth + 2, ODD[:count]))
    assert [len(axes.lines) for axes in drawn.axes] == count * [2] + count * [2]
    assert drawn.axes[0].get_title("left") == "$A_B$: RMSE 2.00"
    np.testing.assert_allclose(drawn.axes[count].lines[-1].get_ydata(), 2)
    assert (drawn.axes[count].get_ylabel(), drawn.axes[count].get_xlabel()) == ("Error", "Date" if dates else "Step")
    assert keys(drawn) == ["Original", "Reconstruction", "Error: reconstruction − original"]
    drawn = checked(lines.comparison(x, truth, truth + 1, ODD[:count], naive=truth - 2))
    assert drawn.axes[0].get_title("left") == "$A_B$: RMSE 1.00 (persistence 2.00)"
    assert [len(axes.lines) for axes in drawn.axes] == 2 * count * [3]
    checked(lines.comparison(x, truth, np.full_like(truth, np.nan), ODD[:count]))


def test_digit_reconstructions_show_classes_and_errors():
    count, image = 3, RNG.random((3, 28, 28))
    wrong = np.arange(count) + 1
    drawn = checked(digits.reconstructions(image, image - 0.1, np.arange(count), wrong))
    assert len(drawn.axes) == 3 * count + 1
    assert (drawn.axes[0].get_title(), drawn.axes[0].title.get_fontweight()) == ("0 → 1", "bold")
    assert drawn.axes[2 * count].get_xlabel() == "0.0100"
    np.testing.assert_allclose(drawn.axes[2 * count].images[0].get_array(), 0.1)
    drawn = checked(digits.reconstructions(image, image, predicted=wrong, total=1234))
    assert [axes.get_title() for axes in drawn.axes[:count]] == [str(each) for each in wrong]
    assert "Above: predicted class." in drawn.get_supxlabel().replace("\n", " ")
    assert drawn.get_supxlabel().startswith(f"The first {count} of 1,234.")
    checked(digits.reconstructions(image[:1], np.full_like(image[:1], np.nan), np.arange(1)))


def test_confusion_shows_counts_and_colors_by_row():
    matrix = np.diag([980] * 10)
    matrix[3, 5] = 1470
    matrix[9] = 0
    drawn = checked(classes.confusion(matrix, noun="digit"))
    axes = drawn.axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["1,470"] + ["980"] * 9
    assert axes.images[0].get_array()[3, 5] == pytest.approx(60)
    assert axes.get_title("left") == "Accuracy 85.71% of 10,290 digits"
    assert "n/a" in checked(classes.confusion(np.zeros((10, 10)))).axes[0].get_title("left")
    # More classes than are legible have colors only.
    assert not checked(classes.confusion(np.eye(classes.MAX_CLASSES + 1))).axes[0].texts


def test_digit_readings_mark_one_row_in_steps_and_series():
    image = np.zeros((28, 28))
    image[4] = 0.5
    drawn = checked(digits.readings(image))
    picture, step, series = drawn.axes
    assert picture.get_title("left") == "By rows: 28 steps of 28"
    assert [bar.get_height() for bar in step.patches] == [0.5] * 28
    assert "steps 112 to 139" in series.get_title("left")
    assert len(series.lines[0].get_ydata()) == 784
    checked(digits.readings(np.full((28, 28), np.nan)))


def test_price_history_accepts_series_of_different_lengths():
    late = DAYS[10:]
    parts = [("Training", DAYS[0]), ("Validation", DAYS[15]), ("$A_B$", DAYS[17])]
    drawn = checked(prices.history([DAYS, late], [walks(1)[0], walks(1, 20)[0]], ODD[:2], boundaries=parts))
    assert [axes.get_ylabel() for axes in drawn.axes] == ["$A_B$\nPrice (USD)", "_HIDDEN\nPrice (USD)"]
    assert len(drawn.axes[1].lines) == 4
    assert [note.get_text() for note in drawn.axes[0].texts] == ["Training", "Validation", "$A_B$"]
    checked(prices.history(DAYS[None, :1], np.array([[3.0]]), ODD[2:3]))
    checked(prices.history(DAYS[None], np.full((1, 30), np.nan), ODD[3:]))


def test_last_days_show_changes_from_persistence():
    known = np.array([100.0, 50.0, 10.0, 0.0])
    drawn = checked(prices.last_days(ODD, known * [1.02, 0.98, np.nan, 1], known * 1.01, known))
    axes = drawn.axes[0]
    np.testing.assert_allclose(axes.lines[1].get_xdata(), [2, -2, np.nan, np.nan])
    assert axes.get_title("left") == "Mean absolute error of the model: 2.00 percentage points (persistence 2.00)"
    assert [text.get_text() for text in axes.get_yticklabels()] == [*ODD[:2], "Consolidated Holdings…"[:22], "??"]
    assert "n/a" in checked(prices.last_days(ODD[:1], [np.nan], [np.nan], [np.nan])).axes[0].get_title("left")


@pytest.mark.parametrize("count", [1, 4])
def test_windows_have_one_panel_per_company(count):
    truth = walks(count)
    truth[0, 5] = np.nan
    names = (ODD * 5)[:count]
    drawn = checked(prices.windows([DAYS] * count, truth, truth * 1.01, names))
    assert len(drawn.axes) == count
    np.testing.assert_allclose(drawn.axes[0].lines[2].get_ydata(), np.r_[np.nan, truth[0, :-1]])
    assert drawn.axes[0].get_title("left") == "$A_B$"
    assert drawn.axes[0].get_title("right") == "2013-01-01"
    assert keys(drawn) == ["Actual", "One-day forecast", "Persistence (the day before)"]


@pytest.mark.parametrize(
    ("known", "title"),
    [(5, "(band: 95% interval)"), (3, "(band: 95% interval, none from step 4 on)"), (0, "not available")],
)
def test_skill_band_ends_where_the_interval_is_unknown(known, title):
    margin = np.where(np.arange(5) < known, 0.2, np.nan)
    errors = {"": np.full(5, 0.9), "persistence": np.ones(5)}
    drawn = checked(forecasts.error_by_step(errors, "persistence", margin))
    (band,) = drawn.axes[1].collections
    places = np.concatenate([path.vertices for path in band.get_paths()] or [np.empty((0, 2))])
    assert sorted(set(places[:, 0])) == list(range(1, known + 1))
    assert title in drawn.axes[1].get_title("left")


def panels(future, ends, truth=True):
    """Return a figure of forecasts of five days."""
    return forecasts.forecast_panels(
        DAYS[None, :15],
        future[:, :1].repeat(15, 1),
        DAYS[None, 15:20],
        future,
        future - 1,
        baseline="persistence",
        names=["$A_B$"],
        quantities=["High (USD)"],
        truth=future + 1 if truth else None,
        intervals=ends,
    )


@pytest.mark.parametrize("truth", [True, False])
def test_forecasts_after_the_data_have_no_actual_line(truth):
    drawn = checked(panels(np.linspace(100, 101, 5)[None], {}, truth))
    assert keys(drawn) == ["Actual" if truth else "Past", "Forecast", "Persistence"]
    assert len(drawn.axes[0].lines) == len(keys(drawn))


@pytest.mark.parametrize("count", [1, 5])
def test_intervals_have_different_colors(count):
    levels = [50, 80, 90, 95, 99][:count]
    future = np.linspace(100, 101, 5)[None]
    ends = {level: (future - level / 10, future + level / 10) for level in levels}
    drawn = checked(panels(future, ends))
    bands = drawn.axes[0].collections
    light = [sum(band.get_facecolor()[0][:3]) for band in bands]
    assert light == sorted(light, reverse=True)  # the widest is drawn first and is the palest
    assert len(set(light)) == count
    drawn = checked(forecasts.coverage(np.arange(1, 6), {level: np.full(5, level / 100) for level in levels}))
    assert len(drawn.legends[0].get_texts()) == count
    looks = {(line.get_color(), line.get_marker()) for line in drawn.axes[0].lines if line.get_linestyle() == "-"}
    assert len(looks) == min(count, 4)


def test_short_event_has_a_visible_width_and_a_mark_above_the_panels() -> None:
    from lstm_ae.plots.anomalies import MIN_EVENT_WIDTH, anomalies

    rows, events = np.arange(1000), [(100, 299), (600, 600)]
    drawn = checked(anomalies(rows, RNG.normal(size=(1000, 2)), np.ones(1000), 2.0, events, names=["a", "b"]))
    for axes in drawn.axes:
        spans = [(patch.get_x(), patch.get_width()) for patch in axes.patches]
        np.testing.assert_allclose(spans[0], (99.5, 200))
        np.testing.assert_allclose(spans[1], (600 - spans[1][1] / 2, MIN_EVENT_WIDTH * 999))
    marks = drawn.axes[0].lines[1:]
    assert [float(mark.get_xdata()[0]) for mark in marks] == [199.5, 600]
    assert all(mark.get_ydata()[0] > 1 and not mark.get_clip_on() for mark in marks)


@pytest.mark.slow
def test_detection_figure_shows_series_and_columns_of_its_events() -> None:
    from types import SimpleNamespace

    from detectors import event_of

    from lstm_ae.apply.figures import detection_figure

    rows, columns = 40, 8
    names = [f"sensor {k}" for k in range(columns)]
    series = np.arange(rows) // 20
    values = np.random.default_rng(0).normal(size=(rows, columns))
    start = np.datetime64("2024-03-31T00:00", "ns").astype(np.int64)
    times = start + np.tile(np.arange(20), 2) * 1_800_000_000_000
    segment = series + (np.arange(rows) >= 35)
    grid = SimpleNamespace(times=times, series=series, values=values, segment=segment, labels=None)
    table = SimpleNamespace(
        ids=("left", "right"),
        layout=SimpleNamespace(time="time", values=names),
        axis=lambda times: times.view("datetime64[ns]"),
        clock=zoneinfo.ZoneInfo("Europe/Berlin"),
    )
    shares = (0.0, 0.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.5)
    found = SimpleNamespace(
        prepared=SimpleNamespace(grid=grid, table=table),
        events=[event_of(25, 27, errors=shares)],
        rows=SimpleNamespace(scores=np.full(rows, 0.5)),
        threshold=SimpleNamespace(value=2.0),
    )
    drawn = checked(detection_figure(found))  # type: ignore[arg-type]
    assert [axes.get_ylabel() for axes in drawn.axes] == [*(f"sensor {k}" for k in range(2, 8)), "Score"]
    said = " ".join(drawn.get_suptitle().split())
    assert said == "right, the most events of 2 series; 6 of 8 columns: the largest shares in the events"
    assert drawn.axes[-1].get_xlabel() == "Time (Europe/Berlin)"
    # The lines break where the second series has a gap.
    for axes in drawn.axes:
        assert np.flatnonzero(np.isnan(axes.lines[0].get_ydata())).tolist() == [15]
    drawn.draw_without_rendering()
    ticks = [tick.get_text() for tick in drawn.axes[-1].get_xticklabels()]
    assert "03:00" in ticks  # 00:00 to 09:30 in UTC, which is one hour behind local time and then two
    assert "02:00" not in ticks  # the clocks skip this hour


def test_error_by_step_draws_baselines_in_different_colors() -> None:
    values = {name: np.arange(1.0, 5) for name in ("", "season of 24 steps", "persistence", "linear regression")}
    upper, lower = forecasts.error_by_step(values | {"": np.full(4, 0.5)}, "persistence").axes
    assert len({line.get_color() for line in upper.lines}) == len(upper.lines) == 4
    model, *baselines = upper.lines
    assert model.get_zorder() > max(line.get_zorder() for line in baselines)
    np.testing.assert_allclose(lower.lines[1].get_ydata(), [50, 75, 100 - 50 / 3, 87.5])
