"""The third part of the source report: stock prices, reconstructed and forecast."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from lstm_ae.config import Snp
from lstm_ae.config.presets import load_preset
from lstm_ae.tour.claims import TourClaim, TourData, TourPart, TourSetting, all_rules, better, reaches, undecided
from lstm_ae.tour.levels import TourLevel
from lstm_ae.tour.measurements import TourQuantity

LOSS = TourQuantity("loss of all days", "mse", log=True, baseline="persistence")
LAST = TourQuantity("loss of the last day", "last_day_mse", log=True, baseline="persistence")
DOLLARS = TourQuantity("absolute error of the last day", "mae", unit="USD", log=True, baseline="persistence")
BACK = TourQuantity("error of the reconstruction", "reconstruction_mse", log=True, baseline="mean sequence")
SHARE = TourQuantity(
    "error, as a share of the mean window's", "reconstruction_mse", unit="%", baseline="mean sequence", share=True
)
BACK_DOLLARS = TourQuantity(
    "absolute error of the reconstruction", "reconstruction_mae", unit="USD", log=True, baseline="mean of the window"
)
FIRST = TourQuantity("error of the first day", "rmse", "first step", "USD", log=True, baseline="persistence")
FAR = TourQuantity("error of the last day", "rmse", "last step", "USD", log=True, baseline="persistence")
MOVES = TourQuantity("movement from day to day, of the prices'", "moved/moved_truth", "all steps", "%")
TREND = TourQuantity("right directions on the last day", "direction", "last step", "%", higher=True, baseline="drift")
REPORTED = 0.00027201828197576106
WINDOWS = (10, 30, 90)


def parts(level: TourLevel, ground: TourData) -> Iterator[TourPart]:
    """The parts about prices, in the report's order."""
    base = Snp.from_dict(
        load_preset("snp", "report")
        | {
            "data": ground.prices,
            "symbols": ground.symbols,
            "epochs": level.epochs["prices"],
            "batch_size": level.batch_size,
        }
    )

    def but(**fields: Any) -> tuple[Snp, ...]:
        return (dataclasses.replace(base, **fields),)

    # The report's program takes 128 windows a step by default.
    whole = level.whole and ground.whole_prices and level.batch_size <= 128
    back = {"goal": "reconstruct", "target": "change", "epochs": level.epochs["back"]}
    yield TourPart(
        key="snp-data",
        title="Stock prices",
        where="Part 3",
        told="A little view of the data.",
        draws=base,
    )
    yield _reconstruction(but, back, whole)
    yield _prediction(but, back, whole)
    yield _last_day(but)
    yield _many_days(but, whole)
    yield _windows(but)


def _reconstruction(but: Any, back: dict[str, Any], whole: bool) -> TourPart:
    scaled, raw = "each company's range", "not scaled"
    return TourPart(
        key="snp-reconstruction",
        title="Prices, reconstructed",
        where="Part 3",
        told="Without scaling, the report needed about 10,000 epochs; with scaled prices 2 or 3 were enough. Here both "
        f"get {back['epochs']}.",
        settings=(TourSetting(scaled, but(**back)), TourSetting(raw, but(**back, scale="none"))),
        quantities=(SHARE, BACK, BACK_DOLLARS),
        claims=(
            TourClaim(
                "only 2-3 epochs were actually enough to perfectly fit",
                reaches(scaled, SHARE, 0.001, whole=whole),
                "Confirmed where the error is at most a thousandth of that of the mean training window.",
            ),
            TourClaim(
                "a need of scaling the data",
                better(scaled, raw, BACK_DOLLARS),
                "Confirmed where the error in USD is smaller with scaled prices, after as many epochs.",
            ),
        ),
        shown=scaled,
        figures=("reconstruction",),
    )


def _prediction(but: Any, back: dict[str, Any], whole: bool) -> TourPart:
    plain, dated, raw, given_back = "as the report", "divided by date", "not scaled", "reconstruction, as the report"
    return TourPart(
        key="snp-prediction",
        title="Prices, predicted",
        where="Part 3",
        told="Every day of a window of 30 is predicted from the days before it. The report scales each company by its "
        "range on all days and shuffles the windows before it divides them, so that test days stand in training "
        "windows too; the second setting divides by date.",
        settings=(
            TourSetting(plain, but(), REPORTED),
            TourSetting(dated, but(split="time", scale="company")),
            TourSetting(raw, but(scale="none")),
            TourSetting(given_back, but(**back)),
        ),
        quantities=(LOSS, LAST, DOLLARS, BACK),
        claims=(
            TourClaim(
                "final test loss: 0.000272",
                reaches(plain, LOSS, REPORTED, whole=whole),
                "Confirmed where every seed comes to 0.000272 or less, and below persistence (tomorrow = today).",
            ),
            TourClaim(
                "prediction seems much harder for the model to learn than the reconstruction",
                better(given_back, plain, BACK, LOSS, by=2.0),
                "Confirmed where the reconstruction's error is surely less than half, on the same prices and scale.",
            ),
            TourClaim(
                "a MinMaxScaler fitted separately for each company did a significant effect",
                better(plain, raw, DOLLARS),
                "Confirmed where the error in USD is smaller than without scaling.",
            ),
            TourClaim(
                "shuffling the sequences before training",
                undecided("every training here shuffles its windows, so there is nothing to compare it with"),
                "No training without shuffling is offered.",
            ),
            TourClaim(
                "KFold to filter out bad hyper-params, and KFold again for those left",
                undecided("the tour trains no folds; lstmae snp kfold does"),
                "The tour does not run it.",
            ),
        ),
        shown=plain,
        figures=("windows", "loss"),
    )


def _last_day(but: Any) -> TourPart:
    every_day, one = "every day of the window", "the last day alone"
    return TourPart(
        key="snp-last-day",
        title="The last day only",
        where="Part 3",
        told="A version that predicts only the one unseen day is set beside the one that predicts every day.",
        settings=(TourSetting(every_day, but()), TourSetting(one, but(last_day_only=True))),
        quantities=(LAST, LOSS, DOLLARS),
        claims=(
            TourClaim(
                "required to predict only the last day, results were far better",
                better(one, every_day, LAST, by=2.0),
                "Confirmed where the model of the last day alone has surely less than half the loss on that day; not "
                "confirmed where surely more.",
            ),
            TourClaim(
                "even the required model did stunningly better on the last and unseen day than on the rest",
                better(every_day, every_day, LAST, LOSS, by=2.0),
                "Confirmed where the loss of its last day is surely less than half of that over all days of the "
                "window; not confirmed where surely more.",
            ),
        ),
        shown=every_day,
        figures=("last_day", "window"),
    )


def _many_days(but: Any, whole: bool) -> TourPart:
    name = "divided by date"
    return TourPart(
        key="snp-multistep",
        title="Many days ahead (its question 4)",
        where="Part 3, Q4",
        told="The model gets the first half of a window and then its own outputs. Windows are divided by date here, so "
        "that it has not seen the days that it is measured on.",
        settings=(TourSetting(name, but(split="time", scale="company")),),
        quantities=(FAR, FIRST, MOVES, TREND),
        claims=(
            TourClaim(
                "a less accurate version of the original graph",
                better(name, name, FIRST, FAR),
                "Confirmed where the error is larger after the last of its own outputs than after the first.",
            ),
            TourClaim(
                "a more smoothed version of the original graph",
                reaches(name, MOVES, 1.0, whole=whole),
                "Confirmed where the forecast moves less from day to day than the prices do, with every seed.",
            ),
            TourClaim(
                "it does describe pretty well the general trend of the sequence",
                reaches(name, TREND, 0.5, whole=whole),
                "Confirmed where more than half of the directions are right on the last day, and more than by the mean "
                "change of a training day.",
            ),
        ),
        shown=name,
        figures=("multistep", "skill_by_step"),
        rolled=(name,),
    )


def _windows(but: Any) -> TourPart:
    names = {days: f"{days} days" for days in WINDOWS}
    return TourPart(
        key="snp-window",
        title="The length of the window",
        where="Part 3",
        told="Among what did the most significant effect, the report counts tuning down sequence lengths to about 30.",
        settings=tuple(TourSetting(name, but(window=days)) for days, name in names.items()),
        quantities=(LOSS, LAST, DOLLARS),
        claims=(
            TourClaim(
                "tuning down sequence lengths to about 30",
                all_rules(*(better(names[30], names[days], LOSS) for days in (10, 90))),
                "Confirmed where the loss with 30 days is smaller than with 90, and than with 10.",
            ),
        ),
        shown=names[90],
        figures=("windows",),
    )
