"""The first part of the source report: noise with a damped stretch, and a grid of 18 settings."""

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


def parts(level: TourLevel, ground: TourData) -> Iterator[TourPart]:
    """The part of the synthetic signal."""
    chosen = Toy.from_dict(
        load_preset("toy", "report") | {"sequences": level.sequences, "epochs": level.epochs["toy"]},
    )
    grid = {
        (rate, units, clip): Toy.from_dict(chosen.to_dict() | {"learning_rate": rate, "units": units, "clip": clip})
        for rate, units, clip in level.grid or product(RATES, UNITS, CLIPS)
    }

    def those(at: int, value: float) -> tuple[Toy, ...]:
        return tuple(config for key, config in grid.items() if key[at] == value)

    best = "the report's best (0.1, 16, 5)"
    yield TourPart(
        key="toy",
        title="A synthetic signal, reconstructed",
        where="Part 1",
        told="Noise with a damped stretch around steps 20 to 30 is given back by an autoencoder, in a grid over the "
        "learning rate, the hidden units and the clipping of the gradient.",
        command=f"lstmae toy tune --repeats {len(level.seeds)} --learning-rate 0.1,0.01,0.001 --units 8,16,32 "
        "--clip 1,5 " + command_options(chosen, ("learning_rate", "units", "clip")),
        settings=(
            TourSetting(best, (chosen,), REPORTED),
            *(TourSetting(f"learning rate {rate:g}", those(0, rate)) for rate in RATES),
            *(TourSetting(f"{units} units", those(1, units)) for units in UNITS),
            *(TourSetting(f"clip {clip:g}", those(2, clip)) for clip in CLIPS),
        ),
        quantities=(LOSS,),
        claims=(
            TourClaim(
                "validation loss 0.000167 with learning rate 0.1, hidden size 16, clip 5",
                reaches(best, LOSS, REPORTED, whole=level.whole),
                "Confirmed where that setting comes to 0.000167 or less, and below the mean sequence, with every seed.",
            ),
            TourClaim(
                "learning rate = 0.1 was the best",
                all_rules(*(better("learning rate 0.1", f"learning rate {rate:g}", LOSS) for rate in RATES[1:])),
                "Confirmed where it is better than 0.01 and than 0.001, over the grid's settings.",
            ),
            TourClaim(
                "a strong tendency of gradient_clip = 1 to be better",
                better("clip 1", "clip 5", LOSS),
                "Confirmed where 1 is better than 5, over the grid's settings.",
            ),
            TourClaim(
                "the bigger the hidden state size, the better the performance",
                all_rules(better("32 units", "16 units", LOSS), better("16 units", "8 units", LOSS)),
                "Confirmed where 32 units are better than 16, and 16 than 8, over the grid's settings.",
            ),
        ),
        shown=best,
        figures=("reconstruction",),
        draws=chosen,
    )
