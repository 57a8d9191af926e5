"""`lstmae report --tour`: the whole source report again, from trainings that exist and those that are missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from lstm_ae.errors import ConfigError

from .backend import import_tensorflow
from .results import show_files
from .stops import Interrupted
from .talk import Bar, Talk

PAGE = "report.html"


class Asked(NamedTuple):
    """What was typed; `digits` and `prices` are places of data, as `--data` of the studies takes them."""

    level: str
    out: Path | None
    digits: str | None
    prices: str | None
    dry_run: bool


def show_tour(asked: Asked, talk: Talk) -> None:
    """Train what is missing and write the page; with `dry_run`, list the trainings alone."""
    from lstm_ae.report.page import require_own
    from lstm_ae.tour import digits, stocks, toy
    from lstm_ae.tour.ground import settle, survey
    from lstm_ae.tour.journey import begin, plan
    from lstm_ae.tour.levels import level_of

    level = level_of(asked.level)
    folder = asked.out or Path("runs") / f"tour-{level.name}"
    if folder.suffix.lower() in (".html", ".htm"):
        raise ConfigError(f"--out of --tour is a folder, where trainings and page go. Received: {str(folder)!r}")
    begin(folder, make=False)
    require_own(folder / PAGE)
    found = survey(asked.digits, asked.prices)
    for note in found.notes:
        talk.say(note)
    with TemporaryDirectory() as scratch:
        if not asked.dry_run:
            begin(folder)
        ground, load = settle(level, found, folder, Path(scratch) if asked.dry_run else None)
        parts = [part for module in (toy, digits, stocks) for part in module.parts(level, ground)]
        legs = plan(parts, level.seeds, folder, load.sha256)
        if asked.dry_run:
            _list(legs, folder, load, talk)
            return
    _travel(parts, legs, level, folder, load, found.notes, talk)


def _list(legs: Any, folder: Path, load: Any, talk: Talk) -> None:
    from lstm_ae.tour.journey import OUTDATED, STATES, THERE

    from .estimating import tell

    rows = [(leg.part, leg.setting, leg.config.seed, leg.config.epochs, leg.state) for leg in legs]
    talk.table(["part", "setting", "seed", "epochs", "state"], rows)
    counts = {state: sum(leg.state == state for leg in legs) for state in STATES}
    epochs = sum(leg.config.epochs for leg in legs if leg.state != THERE)
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count or state != OUTDATED)
    talk.show(f"{len(legs)} trainings in {folder}: {told}; at most {epochs:,} epochs to train")
    import_tensorflow(talk)
    from lstm_ae.tour.estimate import of_journey

    estimate = of_journey(legs, load, lambda number, of: talk.say(f"timing trainings of size {number} of {of} ..."))
    told_of = tell(estimate, talk)
    keys = ("part", "setting", "seed", "epochs", "state")
    trainings = [
        dict(zip(keys, row, strict=True)) | {"run": str(leg.directory), "command": leg.command}
        for row, leg in zip(rows, legs, strict=True)
    ]
    talk.document({"folder": str(folder), **counts, "epochs_to_train": epochs, "trainings": trainings, **told_of})


def _travel(parts: Any, legs: Any, level: Any, folder: Path, load: Any, notes: Any, talk: Talk) -> None:
    from datetime import UTC, datetime

    from lstm_ae.about import command_line
    from lstm_ae.report.page import write_report
    from lstm_ae.tour.journey import travel
    from lstm_ae.tour.page import draw_data, render
    from lstm_ae.tour.results import outcomes

    import_tensorflow(talk)
    bar = talk.progress()
    with _going_on(bar):
        draw_data(parts, load, folder)
        diverged = travel(legs, load, _teller(talk, bar))
    for sentence in diverged:
        talk.say(sentence)
    told = outcomes(parts, level.seeds, legs)
    page = render(
        told,
        legs,
        folder,
        level,
        command=command_line(),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        notes=(*notes, *diverged),
    )
    path = write_report(folder / PAGE, page.html)
    for sentence in told.missing:
        talk.say(sentence)
    for name in page.left_out:
        talk.say(f"no room for the figure {name}")
    answers = [(outcome.part.key, answer) for outcome in told.outcomes for answer in outcome.answers]
    talk.table(["part", "the report", "verdict"], [(key, a.claim.said, a.judged.verdict) for key, a in answers])
    if not level.whole:
        talk.show(level.says)
    show_files(talk, {"report": path, "runs": folder})
    findings = [{"part": key, "said": a.claim.said, **a.judged._asdict(), "rule": a.claim.words} for key, a in answers]
    talk.document(
        {
            "level": level.name,
            "report": str(path),
            "bytes": path.stat().st_size,
            "findings": findings,
            "missing": [*told.missing, *diverged],
            "left_out": list(page.left_out),
        }
    )


def _teller(talk: Talk, bar: Bar) -> Any:
    """What shows a journey: a line a training, and its progress on a terminal."""
    from lstm_ae.tour.journey import OUTDATED

    def tell(event: Any) -> None:
        if event.progress is None:
            bar.clear()
            leg = event.leg
            anew = ", begun anew: it was begun with other versions, which cannot go on" if leg.state == OUTDATED else ""
            talk.say(f"training {event.number} of {event.of}: {leg.part}, {leg.setting}, seed {leg.config.seed}{anew}")
        elif bar.live or talk.verbose:
            bar(event.progress)

    return tell


@contextmanager
def _going_on(bar: Bar) -> Iterator[None]:
    from lstm_ae.about import command_line

    try:
        yield
    except KeyboardInterrupt:
        bar.clear()
        raise Interrupted(f"Interrupted; what is done is kept. Go on with: {command_line()}") from None
