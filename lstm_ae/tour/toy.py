"""First part of the source report: noise with a damped segment, and a grid of 18 settings."""

from collections.abc import Iterator
from itertools import product

from lstm_ae.config import Toy
from lstm_ae.config.presets import load_preset
from lstm_ae.tour.claims import TourClaim, TourData, TourPart, TourSetting, all_rules, better, reaches
from lstm_ae.tour.commands import command_options
from lstm_ae.tour.levels import TourLevel
from lstm_ae.tour.measurements import TourQuantity

LOSS = TourQuantity(
    "error of the reconstruction", "reconstruction_mse", "validation", log=True, baseline="mean sequence"
)
RATES, UNITS, CLIPS = (0.1, 0.01, 0.001), (8, 16, 32), (1.0, 5.0)
REPORTED = 0.00016683299145370256


def parts(level: TourLevel, data: TourData) -> Iterator[TourPart]:
    """Yield the part of the synthetic signal."""
    base = Toy.from_dict(
        load_preset("toy", "report") | {"sequences": level.sequences, "epochs": level.epochs["toy"]},
    )
    grid = {
        (rate, units, clip): Toy.from_dict(base.to_dict() | {"learning_rate": rate, "units": units, "clip": clip})
        for rate, units, clip in level.grid or product(RATES, UNITS, CLIPS)
    }

    def settings_with(position: int, value: float) -> tuple[Toy, ...]:
        return tuple(config for key, config in grid.items() if key[position] == value)

    best = "the report's best (0.1, 16, 5)"
    yield TourPart(
        key="toy",
        title="A synthetic signal, reconstructed",
        section="Part 1",
        text="An autoencoder reconstructs noise with a damped segment around steps 20 to 30, in a grid over the "
        "learning rate, the hidden units, and gradient clipping.",
        command=f"lstmae toy tune --repeats {len(level.seeds)} --learning-rate 0.1,0.01,0.001 --units 8,16,32 "
        "--clip 1,5 " + command_options(base, ("learning_rate", "units", "clip")),
        settings=(
            TourSetting(best, (base,), REPORTED),
            *(TourSetting(f"learning rate {rate:g}", settings_with(0, rate)) for rate in RATES),
            *(TourSetting(f"{units} units", settings_with(1, units)) for units in UNITS),
            *(TourSetting(f"clip {clip:g}", settings_with(2, clip)) for clip in CLIPS),
        ),
        quantities=(LOSS,),
        claims=(
            TourClaim(
                "validation loss 0.000167 with learning rate 0.1, hidden size 16, clip 5",
                reaches(best, LOSS, REPORTED, whole=level.whole),
                "Confirmed if every seed reaches 0.000167 or less and is below the mean sequence.",
            ),
            TourClaim(
                "learning rate = 0.1 was the best",
                all_rules(
                    *(better("learning rate 0.1", f"learning rate {rate:g}", LOSS, baseline=True) for rate in RATES[1:])
                ),
                "Confirmed if it is better than 0.01 and 0.001, over the settings of the grid.",
            ),
            TourClaim(
                "a strong tendency of gradient_clip = 1 to be better",
                better("clip 1", "clip 5", LOSS, baseline=True),
                "Confirmed if 1 is better than 5, over the settings of the grid.",
            ),
            TourClaim(
                "the bigger the hidden state size, the better the performance",
                all_rules(
                    better("32 units", "16 units", LOSS, baseline=True),
                    better("16 units", "8 units", LOSS, baseline=True),
                ),
                "Confirmed if 32 units are better than 16, and 16 better than 8, over the settings of the grid.",
            ),
        ),
        shown_setting=best,
        figures=("reconstruction",),
        data_config=base,
    )
