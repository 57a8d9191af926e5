"""Second part of the source report: digits read as sequences, reconstructed and classified."""

from collections.abc import Iterator

from lstm_ae.config import Mnist
from lstm_ae.config.presets import load_preset
from lstm_ae.tour.claims import (
    TourClaim,
    TourData,
    TourPart,
    TourSetting,
    Variant,
    all_rules,
    better,
    compromise,
    equivalent,
    fails,
    reaches,
    variants_of,
)
from lstm_ae.tour.commands import command_options
from lstm_ae.tour.levels import TourLevel
from lstm_ae.tour.measurements import TourQuantity

ACCURACY = TourQuantity(
    "accuracy", "accuracy", unit="%", higher=True, baseline="always", baseline_label="always one digit"
)
ERROR = TourQuantity(
    "error of the reconstruction", "reconstruction_mse", log=True, baseline="mean sequence", baseline_label="mean digit"
)
SHARE = TourQuantity(
    "error, as a share of the mean digit's", "reconstruction_mse", unit="%", baseline="mean sequence", share=True
)
SECONDS = TourQuantity("seconds per epoch", "seconds", source="seconds", log=True)


def parts(level: TourLevel, data: TourData) -> Iterator[TourPart]:
    """Yield the parts about digits in the order of the source report."""
    base = Mnist.from_dict(load_preset("mnist", "report") | {"data": data.digits, "epochs": level.epochs["digits"]})
    whole = level.whole and data.whole_digits

    variant = variants_of(base)
    yield _reconstruction(variant, whole)
    yield _classification(variant, whole)
    yield _variants(variant, level)
    yield _weights(variant, level)
    yield _pixels(variant, level, whole)


def _reconstruction(variant: Variant, whole: bool) -> TourPart:
    name = "reconstruction alone"
    return TourPart(
        key="mnist-reconstruction",
        title="Digits, reconstructed",
        section="Part 2",
        text="The model reads a digit row by row, 28 steps of 28 pixels. The report compares the output visually.",
        settings=(TourSetting(name, variant(reconstruction_weight=1.0)),),
        quantities=(SHARE, ERROR),
        claims=(
            TourClaim(
                "the output resembles the original image",
                reaches(name, SHARE, 0.1, whole=whole),
                "Confirmed if the error is at most a tenth of the error of the mean training digit.",
            ),
        ),
        shown_setting=name,
        figures=("reconstruction",),
    )


def _classification(variant: Variant, whole: bool) -> TourPart:
    plain, fast, wide = "V4: 8 units, learning rate 0.01", "learning rate 0.1", "32 units"
    return TourPart(
        key="mnist-classification",
        title="Digits, classified",
        section="Part 2",
        text="Classification and reconstruction are trained together. The goal is an accuracy over 98%.",
        settings=(
            TourSetting(plain, variant(), 0.98),
            TourSetting(fast, variant(learning_rate=0.1)),
            TourSetting(wide, variant(units=32)),
        ),
        quantities=(ACCURACY, ERROR),
        claims=(
            TourClaim(
                "surpassing 98% accuracy",
                reaches(plain, ACCURACY, 0.98, whole=whole),
                "Confirmed if every seed reaches 98% and beats the most frequent digit as a constant prediction.",
            ),
            TourClaim(
                "learning rate of 0.1 was horrible: between 9% and 80%",
                all_rules(better(plain, fast, ACCURACY), fails(fast, ACCURACY, 0.8, whole=whole)),
                "Confirmed if 0.01 is more accurate and 0.1 stays below 80% with every seed.",
            ),
            TourClaim(
                "a hidden size of only 8 shows virtually no difference in accuracy or reconstruction quality",
                all_rules(equivalent(plain, wide, ACCURACY, 0.005), equivalent(plain, wide, ERROR, 2.0)),
                "Confirmed if 8 and 32 units differ by less than half a percentage point of accuracy and less than a "
                "factor of 2 in the error.",
            ),
        ),
        shown_setting=plain,
        figures=("confusion", "curves"),
    )


def _variants(variant: Variant, level: TourLevel) -> TourPart:
    models = {
        "V1: linear on the input": ("v1", None),
        "V2: head on the reconstruction": ("v2", 0.94),
        "V3: two autoencoders": ("v3", 0.97),
        "V4: two, and a dense head": ("v4", 0.98),
        "head on the code": ("head-on-code", None),
    }
    _, v2, v3, v4, _ = models
    deep = "V4 with two layers"
    return TourPart(
        key="mnist-variants",
        title="Variants of the classifier",
        section="Part 2",
        text="The report compares one LSTM for both tasks (V2), separate LSTMs (V3), and more layers after them (V4). "
        "The tour adds a linear layer on the input (V1) and a head on the shared code.",
        command=f"lstmae mnist compare --repeats {len(level.seeds)} {command_options(variant()[0])}",
        settings=(
            *(TourSetting(name, variant(model=model), reported) for name, (model, reported) in models.items()),
            TourSetting(deep, variant(layers=2)),
        ),
        quantities=(ACCURACY, ERROR),
        claims=(
            TourClaim(
                "separating classification and reconstruction to 2 different LSTMs improves from 94% to around 97%",
                better(v3, v2, ACCURACY, by=0.02),
                "Confirmed if V3 is more accurate than V2 by at least two percentage points; not confirmed if the "
                "difference is smaller.",
            ),
            TourClaim(
                "adding more layers of even regular FC layers improves performance by another 1% or more",
                better(v4, v3, ACCURACY, by=0.01),
                "Confirmed if V4 is more accurate than V3 by at least one percentage point; not confirmed if the "
                "difference is smaller.",
            ),
            TourClaim(
                "more LSTM layers don't do much",
                equivalent(deep, v4, ACCURACY, 0.005),
                "Confirmed if two LSTM layers instead of one change the accuracy of V4 by less than half a percentage "
                "point.",
            ),
        ),
        shown_setting=v3,
        figures=("reconstruction",),
    )


def _weights(variant: Variant, level: TourLevel) -> TourPart:
    names = {weight: f"V4, weight {weight:g}" for weight in level.weights}
    shared = {weight: f"V2, weight {weight:g}" for weight in (0.0, 0.1, 0.5, 0.9)}
    uneven = (names[0.1], names[0.9])
    others = tuple(name for weight, name in names.items() if weight != 0.5)
    return TourPart(
        key="mnist-weights",
        title="The weight of the two losses",
        section="Part 2",
        text="The weight of the reconstruction in the loss (--reconstruction_dominance in the report) varies from 0 to "
        "1. At 1 the classifier is not trained.",
        command=f"lstmae mnist weights --repeats {len(level.seeds)} {command_options(variant()[0])}",
        settings=(
            *(TourSetting(name, variant(reconstruction_weight=weight)) for weight, name in names.items()),
            *(TourSetting(name, variant(model="v2", reconstruction_weight=weight)) for weight, name in shared.items()),
        ),
        quantities=(ACCURACY, ERROR),
        claims=(
            TourClaim(
                "distributing the loss unevenly, one part gets better results",
                all_rules(better(uneven[0], uneven[1], ACCURACY), better(uneven[1], uneven[0], ERROR)),
                "Confirmed if V4 is more accurate with weight 0.1 than with 0.9 and its reconstruction is worse.",
            ),
            TourClaim(
                "this difference is not much noticeable over an already well proven model",
                equivalent(*uneven, ACCURACY, 0.005),
                "Confirmed if the accuracies of V4 with weights 0.1 and 0.9 differ by less than half a percentage "
                "point.",
            ),
            TourClaim(
                "a 50:50 split seems the best compromise",
                compromise(names[0.5], others, (ACCURACY, ERROR)),
                "Confirmed if each other weight is worse in accuracy and in reconstruction; not confirmed if one is "
                "better in both. Not decidable if one is better in accuracy and worse in reconstruction.",
            ),
            TourClaim(
                "through the same LSTM, the best accuracy was achieved by a slight weight to the reconstruction",
                all_rules(*(better(shared[0.1], shared[weight], ACCURACY) for weight in (0.0, 0.5, 0.9))),
                "Confirmed if V2 is more accurate with weight 0.1 than with 0, 0.5, and 0.9.",
            ),
        ),
        shown_setting=names[0.9],
        figures=("reconstruction",),
    )


def _pixels(variant: Variant, level: TourLevel, whole: bool) -> TourPart:
    pixels, rows = "784 pixels, 16 units", "28 rows, 16 units"
    whole = whole and level.epochs["pixels"] >= level.epochs["digits"]
    return TourPart(
        key="mnist-pixels",
        title="Digits, pixel by pixel",
        section="Part 2",
        text="The model reads the same digits as 784 single pixels, with 16 hidden units.",
        settings=(
            TourSetting(pixels, variant(read="pixels", units=16, epochs=level.epochs["pixels"]), 0.114),
            TourSetting(rows, variant(units=16)),
        ),
        quantities=(ACCURACY, SHARE, ERROR, SECONDS),
        claims=(
            TourClaim(
                "15% success on average",
                fails(pixels, ACCURACY, 0.2, whole=whole),
                "Confirmed if every seed stays below 20%.",
            ),
            TourClaim(
                "accuracy dropped drastically",
                better(rows, pixels, ACCURACY, by=0.1),
                "Confirmed if the same network is more accurate by rows, by at least ten percentage points; not "
                f"confirmed if the difference is smaller. By rows it has {level.epochs['digits']} epochs, by pixels "
                f"{level.epochs['pixels']}.",
            ),
            TourClaim(
                "reconstruction works seamlessly",
                reaches(pixels, SHARE, 0.1, whole=whole),
                "Confirmed if the error is at most a tenth of the error of the mean training digit.",
            ),
            TourClaim(
                "in terms of run-time, results are also far worse",
                better(rows, pixels, SECONDS, by=2.0),
                "Confirmed if an epoch by rows takes less than half the time.",
            ),
        ),
        shown_setting=pixels,
        figures=("reconstruction", "confusion"),
    )
