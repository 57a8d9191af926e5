"""The second part of the source report: digits read as sequences, reconstructed and classified."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from lstm_ae.config import Mnist
from lstm_ae.config.presets import load_preset
from lstm_ae.tour.claims import (
    TourClaim,
    TourData,
    TourPart,
    TourSetting,
    alike,
    all_rules,
    better,
    compromise,
    fails,
    reaches,
)
from lstm_ae.tour.commands import command_options
from lstm_ae.tour.levels import TourLevel
from lstm_ae.tour.measurements import TourQuantity

ACCURACY = TourQuantity("accuracy", "accuracy", unit="%", higher=True, baseline="always", beside="always one digit")
ERROR = TourQuantity(
    "error of the reconstruction", "reconstruction_mse", log=True, baseline="mean sequence", beside="mean digit"
)
SHARE = TourQuantity(
    "error, as a share of the mean digit's", "reconstruction_mse", unit="%", baseline="mean sequence", share=True
)
SECONDS = TourQuantity("seconds an epoch", "seconds", of="seconds", log=True)


def parts(level: TourLevel, ground: TourData) -> Iterator[TourPart]:
    """The parts about digits, in the report's order."""
    base = Mnist.from_dict(load_preset("mnist", "report") | {"data": ground.digits, "epochs": level.epochs["digits"]})
    whole = level.whole and ground.whole_digits

    def but(**fields: Any) -> tuple[Mnist, ...]:
        return (dataclasses.replace(base, **fields),)

    yield _reconstruction(but, whole)
    yield _classification(but, whole)
    yield _variants(but, level)
    yield _weights(but, level)
    yield _pixels(but, level, whole)


def _reconstruction(but: Any, whole: bool) -> TourPart:
    name = "reconstruction alone"
    return TourPart(
        key="mnist-reconstruction",
        title="Digits, reconstructed",
        where="Part 2",
        told="A digit is fed row by row, 28 steps of 28 pixels, and the output is compared with it by eye.",
        settings=(TourSetting(name, but(reconstruction_weight=1.0)),),
        quantities=(SHARE, ERROR),
        claims=(
            TourClaim(
                "the output resembles the original image",
                reaches(name, SHARE, 0.1, whole=whole),
                "Confirmed where the error is at most a tenth of that of the mean training digit.",
            ),
        ),
        shown=name,
        figures=("reconstruction",),
    )


def _classification(but: Any, whole: bool) -> TourPart:
    plain, fast, wide = "V4: 8 units, learning rate 0.01", "learning rate 0.1", "32 units"
    return TourPart(
        key="mnist-classification",
        title="Digits, classified",
        where="Part 2",
        told="Classification and reconstruction are trained together, with the goal of passing 98 %.",
        settings=(
            TourSetting(plain, but(), 0.98),
            TourSetting(fast, but(learning_rate=0.1)),
            TourSetting(wide, but(units=32)),
        ),
        quantities=(ACCURACY, ERROR),
        claims=(
            TourClaim(
                "surpassing 98 % accuracy",
                reaches(plain, ACCURACY, 0.98, whole=whole),
                "Confirmed where every seed reaches 98 %, and more than always naming the most frequent digit.",
            ),
            TourClaim(
                "learning rate of 0.1 was horrible: between 9 % and 80 %",
                all_rules(better(plain, fast, ACCURACY), fails(fast, ACCURACY, 0.8, whole=whole)),
                "Confirmed where 0.01 is more accurate, and 0.1 stays below 80 % with every seed.",
            ),
            TourClaim(
                "a hidden size of only 8 shows virtually no difference in accuracy or reconstruction quality",
                all_rules(alike(plain, wide, ACCURACY, 0.005), alike(plain, wide, ERROR, 2.0)),
                "Confirmed where 8 and 32 units are surely within half a point of accuracy and a factor of 2 of the "
                "error.",
            ),
        ),
        shown=plain,
        figures=("confusion", "curves"),
    )


def _variants(but: Any, level: TourLevel) -> TourPart:
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
        where="Part 2",
        told="The report compares one LSTM for both tasks (V2) with separate ones (V3), and more layers after them "
        "(V4). V1, a linear layer on the input, and a head on the shared code stand beside them here.",
        command=f"lstmae mnist compare --repeats {len(level.seeds)} {command_options(but()[0])}",
        settings=(
            *(TourSetting(name, but(model=model), reported) for name, (model, reported) in models.items()),
            TourSetting(deep, but(layers=2)),
        ),
        quantities=(ACCURACY, ERROR),
        claims=(
            TourClaim(
                "separating classification and reconstruction to 2 different LSTMs improves from 94 % to around 97 %",
                better(v3, v2, ACCURACY, by=0.02),
                "Confirmed where V3 is more accurate than V2, surely by two points or more; not confirmed where surely "
                "by less.",
            ),
            TourClaim(
                "adding more layers of even regular FC layers improves performance by another 1 % or more",
                better(v4, v3, ACCURACY, by=0.01),
                "Confirmed where V4 is more accurate than V3, surely by a point or more; not confirmed where surely by "
                "less.",
            ),
            TourClaim(
                "more LSTM layers don't do much",
                alike(deep, v4, ACCURACY, 0.005),
                "Confirmed where V4 with two LSTM layers in place of one is surely within half a point of accuracy.",
            ),
        ),
        shown=v3,
        figures=("reconstruction",),
    )


def _weights(but: Any, level: TourLevel) -> TourPart:
    names = {weight: f"V4, weight {weight:g}" for weight in level.weights}
    shared = {weight: f"V2, weight {weight:g}" for weight in (0.0, 0.1, 0.5, 0.9)}
    uneven = (names[0.1], names[0.9])
    others = tuple(name for weight, name in names.items() if weight != 0.5)
    return TourPart(
        key="mnist-weights",
        title="The weight of the two losses",
        where="Part 2",
        told="The reconstruction's share of the loss, --reconstruction_dominance in the report, goes from 0 to 1, "
        "where nothing is classified.",
        command=f"lstmae mnist weights --repeats {len(level.seeds)} {command_options(but()[0])}",
        settings=(
            *(TourSetting(name, but(reconstruction_weight=weight)) for weight, name in names.items()),
            *(TourSetting(name, but(model="v2", reconstruction_weight=weight)) for weight, name in shared.items()),
        ),
        quantities=(ACCURACY, ERROR),
        claims=(
            TourClaim(
                "distributing the loss unevenly, one part gets better results",
                all_rules(better(uneven[0], uneven[1], ACCURACY), better(uneven[1], uneven[0], ERROR)),
                "Confirmed where V4 is more accurate with the weight 0.1 than with 0.9, and reconstructs worse.",
            ),
            TourClaim(
                "this difference is not much noticeable over an already well proven model",
                alike(*uneven, ACCURACY, 0.005),
                "Confirmed where V4's accuracies with the weights 0.1 and 0.9 are surely within half a point.",
            ),
            TourClaim(
                "a 50:50 split seems the best compromise",
                compromise(names[0.5], others, (ACCURACY, ERROR)),
                "Confirmed where each other weight is worse in accuracy and in reconstruction; not confirmed where one "
                "is better in both. Where one is better in accuracy and worse in reconstruction, nothing is decided.",
            ),
            TourClaim(
                "through the same LSTM, the best accuracy was achieved by a slight weight to the reconstruction",
                all_rules(*(better(shared[0.1], shared[weight], ACCURACY) for weight in (0.0, 0.5, 0.9))),
                "Confirmed where V2 is more accurate with the weight 0.1 than with 0, 0.5 and 0.9.",
            ),
        ),
        shown=names[0.9],
        figures=("reconstruction",),
    )


def _pixels(but: Any, level: TourLevel, whole: bool) -> TourPart:
    pixels, rows = "784 pixels, 16 units", "28 rows, 16 units"
    whole = whole and level.epochs["pixels"] >= level.epochs["digits"]
    return TourPart(
        key="mnist-pixels",
        title="Digits, pixel by pixel",
        where="Part 2",
        told="The same digits are fed as 784 single pixels, with 16 hidden units.",
        settings=(
            TourSetting(pixels, but(read="pixels", units=16, epochs=level.epochs["pixels"]), 0.114),
            TourSetting(rows, but(units=16)),
        ),
        quantities=(ACCURACY, SHARE, ERROR, SECONDS),
        claims=(
            TourClaim(
                "15 % success on average",
                fails(pixels, ACCURACY, 0.2, whole=whole),
                "Confirmed where every seed stays below 20 %.",
            ),
            TourClaim(
                "accuracy dropped drastically",
                better(rows, pixels, ACCURACY, by=0.1),
                "Confirmed where the same network is more accurate by rows, surely by ten points or more; not "
                f"confirmed where surely by less. By rows it has {level.epochs['digits']} epochs, by pixels "
                f"{level.epochs['pixels']}.",
            ),
            TourClaim(
                "reconstruction works seamlessly",
                reaches(pixels, SHARE, 0.1, whole=whole),
                "Confirmed where the error is at most a tenth of that of the mean training digit.",
            ),
            TourClaim(
                "in terms of run-time, results are also far worse",
                better(rows, pixels, SECONDS, by=2.0),
                "Confirmed where an epoch by rows takes surely less than half the time.",
            ),
        ),
        shown=pixels,
        figures=("reconstruction", "confusion"),
    )
