"""Third part of the source report: stock prices, reconstructed and forecast."""

from collections.abc import Iterator

from lstm_ae.config import Snp
from lstm_ae.config.presets import load_preset
from lstm_ae.json_types import JsonObject
from lstm_ae.tour.claims import (
    TourClaim,
    TourData,
    TourPart,
    TourSetting,
    Variant,
    all_rules,
    better,
    reaches,
    undecided,
    variants_of,
)
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


def parts(level: TourLevel, data: TourData) -> Iterator[TourPart]:
    """Yield the parts about prices in the order of the source report."""
    base = Snp.from_dict(
        load_preset("snp", "report")
        | {
            "data": data.prices,
            "symbols": data.symbols,
            "epochs": level.epochs["prices"],
            "batch_size": level.batch_size,
        }
    )

    variant = variants_of(base)
    # The default batch size of the report's program is 128.
    whole = level.whole and data.whole_prices and level.batch_size <= 128
    back = {"goal": "reconstruct", "target": "change", "epochs": level.epochs["back"]}
    yield TourPart(
        key="snp-data",
        title="Stock prices",
        section="Part 3",
        text="The report plots a sample of the data.",
        data_config=base,
    )
    yield _reconstruction(variant, back, whole)
    yield _prediction(variant, back, whole)
    yield _last_day(variant)
    yield _many_days(variant, whole)
    yield _windows(variant)


def _reconstruction(variant: Variant, back: JsonObject, whole: bool) -> TourPart:
    scaled, raw = "each company's range", "not scaled"
    return TourPart(
        key="snp-reconstruction",
        title="Prices, reconstructed",
        section="Part 3",
        text="Without scaling, the report needed about 10,000 epochs; with scaled prices 2 or 3 were enough. Both have "
        f"{back['epochs']} epochs here.",
        settings=(TourSetting(scaled, variant(**back)), TourSetting(raw, variant(**back, scale="none"))),
        quantities=(SHARE, BACK, BACK_DOLLARS),
        claims=(
            TourClaim(
                "only 2-3 epochs were actually enough to perfectly fit",
                reaches(scaled, SHARE, 0.001, whole=whole),
                "Confirmed if the error is at most a thousandth of the error of the mean training window.",
            ),
            TourClaim(
                "a need of scaling the data",
                better(scaled, raw, BACK_DOLLARS),
                "Confirmed if the error in USD is smaller with scaled prices after the same number of epochs.",
            ),
        ),
        shown_setting=scaled,
        figures=("reconstruction",),
    )


def _prediction(variant: Variant, back: JsonObject, whole: bool) -> TourPart:
    plain, dated, raw, given_back = "as the report", "divided by date", "not scaled", "reconstruction, as the report"
    return TourPart(
        key="snp-prediction",
        title="Prices, predicted",
        section="Part 3",
        text="Every day of a window of 30 is predicted from the days before it. The report scales each company by its "
        "range on all days and shuffles the windows before splitting them, so that training windows contain test "
        "days. The second setting splits by date.",
        settings=(
            TourSetting(plain, variant(), REPORTED),
            TourSetting(dated, variant(split="time", scale="company")),
            TourSetting(raw, variant(scale="none")),
            TourSetting(given_back, variant(**back)),
        ),
        quantities=(LOSS, LAST, DOLLARS, BACK),
        claims=(
            TourClaim(
                "final test loss: 0.000272",
                reaches(plain, LOSS, REPORTED, whole=whole),
                "Confirmed if every seed reaches 0.000272 or less and is below persistence (tomorrow = today).",
            ),
            TourClaim(
                "prediction seems much harder for the model to learn than the reconstruction",
                better(given_back, plain, BACK, LOSS, by=2.0),
                "Confirmed if the error of the reconstruction is less than half, on the same prices and scale.",
            ),
            TourClaim(
                "a MinMaxScaler fitted separately for each company did a significant effect",
                better(plain, raw, DOLLARS),
                "Confirmed if the error in USD is smaller than without scaling.",
            ),
            TourClaim(
                "shuffling the sequences before training",
                undecided("every training here shuffles its windows, so there is nothing to compare it with"),
                "There is no training without shuffling.",
            ),
            TourClaim(
                "KFold to filter out bad hyper-params, and KFold again for those left",
                undecided("the tour trains no folds; lstmae snp kfold does"),
                "The tour does not run it.",
            ),
        ),
        shown_setting=plain,
        figures=("windows", "loss"),
    )


def _last_day(variant: Variant) -> TourPart:
    every_day, one = "every day of the window", "the last day alone"
    return TourPart(
        key="snp-last-day",
        title="The last day only",
        section="Part 3",
        text="A model that predicts only the last day is compared with one that predicts every day.",
        settings=(TourSetting(every_day, variant()), TourSetting(one, variant(last_day_only=True))),
        quantities=(LAST, LOSS, DOLLARS),
        claims=(
            TourClaim(
                "required to predict only the last day, results were far better",
                better(one, every_day, LAST, by=2.0),
                "Confirmed if the model of the last day has less than half the loss on that day; not confirmed if it "
                "has more.",
            ),
            TourClaim(
                "even the required model did stunningly better on the last and unseen day than on the rest",
                better(every_day, every_day, LAST, LOSS, by=2.0),
                "Confirmed if the loss of its last day is less than half of the loss over all days of the window; not "
                "confirmed if it is more.",
            ),
        ),
        shown_setting=every_day,
        figures=("last_day", "window"),
    )


def _many_days(variant: Variant, whole: bool) -> TourPart:
    name = "divided by date"
    return TourPart(
        key="snp-multistep",
        title="Many days ahead (its question 4)",
        section="Part 3, Q4",
        text="The model reads the first half of a window and then its own outputs. The tour splits by date, so that "
        "the test days are not in the training data.",
        settings=(TourSetting(name, variant(split="time", scale="company")),),
        quantities=(FAR, FIRST, MOVES, TREND),
        claims=(
            TourClaim(
                "a less accurate version of the original graph",
                better(name, name, FIRST, FAR),
                "Confirmed if the error of its last output is larger than the error of its first output.",
            ),
            TourClaim(
                "a more smoothed version of the original graph",
                reaches(name, MOVES, 1.0, whole=whole),
                "Confirmed if the forecast changes less from day to day than the prices, with every seed.",
            ),
            TourClaim(
                "it does describe pretty well the general trend of the sequence",
                reaches(name, TREND, 0.5, whole=whole),
                "Confirmed if more than half of the directions are right on the last day, and more than with the mean "
                "daily change of the training data.",
            ),
        ),
        shown_setting=name,
        figures=("multistep", "skill_by_step"),
        multistep=(name,),
    )


def _windows(variant: Variant) -> TourPart:
    names = {days: f"{days} days" for days in WINDOWS}
    return TourPart(
        key="snp-window",
        title="The length of the window",
        section="Part 3",
        text="The report lists shorter sequences of about 30 days among the changes with the most significant effect.",
        settings=tuple(TourSetting(name, variant(window=days)) for days, name in names.items()),
        quantities=(LOSS, LAST, DOLLARS),
        claims=(
            TourClaim(
                "tuning down sequence lengths to about 30",
                all_rules(*(better(names[30], names[days], LOSS) for days in (10, 90))),
                "Confirmed if the loss with 30 days is smaller than with 90 and with 10.",
            ),
        ),
        shown_setting=names[90],
        figures=("windows",),
    )
