"""How audits and backtests of forecasters are run and shown."""

import dataclasses
import secrets
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lstm_ae.config import Config, Snp
from lstm_ae.errors import Leak
from lstm_ae.words import gain

from .backend import import_tensorflow
from .options import Given
from .results import show_files, show_metrics, show_verdicts
from .searching import divided
from .stops import Interrupted
from .talk import Talk
from .training import told


def show_audit(where: str, talk: Talk, data: str | None) -> None:
    """Show what an audit of a run finds; raises `Leak` where the future reaches its forecasts."""
    from lstm_ae.run import open_run

    run = open_run(where, "snp")
    run.metrics()
    import_tensorflow(talk)
    from lstm_ae.data.prices import prepare
    from lstm_ae.data.quotes import read_quotes
    from lstm_ae.opening import open_trained
    from lstm_ae.tasks.audit import audit

    config = run.config()
    assert isinstance(config, Snp)
    config = config if data is None else dataclasses.replace(config, data=data)
    quotes = read_quotes(config.data, config.fields)
    opened = open_trained(run, prepare(config, quotes))
    told(opened.data, talk)
    findings = audit(opened.model, config, opened.data, quotes)
    talk.table(["check", "outcome", "what was seen"], [tuple(finding) for finding in findings])
    talk.document({"run": str(run.directory), "findings": [finding._asdict() for finding in findings]})
    leaks = [finding.check for finding in findings if finding.outcome == "leak"]
    if leaks:
        raise Leak(f"Something of the future reaches {str(run.directory)!r}: {', '.join(leaks)}")


def new_folder(kind: str) -> Path:
    """Where the results of a long command go that nobody named a folder for."""
    return Path("runs") / f"{kind}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def interrupted(out: Path) -> Interrupted:
    """What a long command says that was interrupted."""
    where = shlex.quote(str(out))
    return Interrupted(f"Interrupted; what is done is kept. Go on with the same command and --out {where}")


def _data_teller(talk: Talk) -> Callable[[Mapping[str, Any]], None]:
    """What says of each fold what data it has, once: only what no fold before it had."""
    said: set[str] = set()

    def tell(data: Mapping[str, Any]) -> None:
        lines = [f"data: {data['text']} (licence: {data['licence']})", *(f"  {note}" for note in data["notes"])]
        if data.get("leaky"):
            lines.append(f"  LEAKY: {data['leaky']}")
        for line in lines:
            if line not in said:
                said.add(line)
                talk.say(line)

    return tell


def show_kfold(given: Given, talk: Talk, out: Path | None, folds: int, keep: float) -> None:
    """Choose among listed settings; show them all, the best first, and what the winner is worth on test."""
    config, axes = divided(given, Snp)
    assert isinstance(config, Snp)
    out = out or new_folder("kfold")
    import_tensorflow(talk)
    import numpy as np

    from lstm_ae.about import command_line
    from lstm_ae.kfold import kfold
    from lstm_ae.search.plan import of_other_days

    note = of_other_days(config, axes)
    if note:
        talk.say(f"note: {note}")
    progress = talk.progress()
    titles: list[str] = []

    def notify(title: str, told_of: Any) -> None:
        if title not in titles:
            titles.append(title)
            talk.say(title)
        progress(told_of)

    try:
        found = kfold(
            config, axes, folds, out, keep=keep, command=command_line(), prepared=_data_teller(talk), notify=notify
        )
    except KeyboardInterrupt:
        progress.clear()
        raise interrupted(out) from None
    progress.clear()
    header = ["place", *found.settings[0].values, "first round", "spread", "second round", "spread"]
    rows = []
    for place, setting in enumerate(found.settings, 1):
        told_of = [value for losses in setting.rounds for value in (float(np.mean(losses)), float(np.std(losses)))]
        rows.append((place, *setting.values.values(), *told_of, *[None] * (4 - len(told_of))))
    talk.show(f"Mean validation loss over {folds} folds:")
    talk.table(header, rows)
    notes = [f"The places of different windows say nothing: {note}"] if note else []
    notes += found.notes
    for each in notes:
        talk.show(each)
    metrics = found.winner.metrics()
    talk.show("The winner, trained as usual:")
    show_metrics(talk, metrics, found.winner.about()["data"]["leaky"])
    show_files(talk, {"winner": found.winner.directory, "folder": out})
    settings = [setting._asdict() for setting in found.settings]
    talk.document(
        {
            "settings": settings,
            "data": found.winner.about()["data"],
            "winner": str(found.winner.directory),
            "metrics": metrics,
            "folds": str(out),
            "notes": notes,
        }
    )


def show_backtest(config: Config, talk: Talk, out: Path | None, folds: int, by: str, *, refit: bool) -> float:
    """Backtest a config; show each fold and what they say together. Returns the skill over persistence in all."""
    assert isinstance(config, Snp)
    out = out or new_folder("backtest")
    import_tensorflow(talk)
    from lstm_ae.backtest import backtest
    from lstm_ae.evaluation import Evaluation
    from lstm_ae.figures.base import png
    from lstm_ae.figures.forecasts import skill_by_fold
    from lstm_ae.files import write

    progress = talk.progress()
    started = []

    def notify(number: int, told_of: Any) -> None:
        if number not in started:
            started.append(number)
            talk.say(f"fold {number} of {folds}")
        progress(told_of)

    def finished(fold: Any) -> None:
        progress.clear()
        talk.say(f"fold {fold.number}: {fold.first} to {fold.last}: {fold.evaluation['verdict']['test']['text']}")

    try:
        result = backtest(
            config, folds, out, by=by, refit=refit, prepared=_data_teller(talk), notify=notify, finished=finished
        )
    except KeyboardInterrupt:
        progress.clear()
        raise interrupted(out) from None
    rows = []
    for fold in result.folds:
        metrics, verdict = fold.evaluation["test"], fold.evaluation["verdict"]["test"]
        skill, mae = metrics["skill"], metrics["mae"]
        rows.append(
            (
                fold.number,
                fold.first,
                fold.last,
                fold.tested,
                gain(skill["value"]),
                gain(skill["baselines"]["linear"]),
                f"{verdict['outcome']} {verdict['baseline']}",
                verdict["p"],
                mae["value"],
                mae["baselines"]["persistence"],
                *(
                    f"{metrics[name]['value']:.1%}" if name in metrics else "-"
                    for name in ("coverage_80", "coverage_95")
                ),
            )
        )
    header = ["fold", "first day", "last day", "companies", "skill", "linear", "verdict", "p"]
    talk.table([*header, "mae (USD)", "persistence", "in 80 %", "in 95 %"], rows)
    for note in result.notes:
        talk.show(note)
    show_verdicts(talk, result.verdicts, "persistence")
    numbers = [fold.number for fold in result.folds]
    skills = [fold.evaluation["test"]["skill"] for fold in result.folds]
    drawn = skill_by_fold(
        numbers,
        [f"{fold.first} to {fold.last}" for fold in result.folds],
        [skill["value"] for skill in skills],
        [skill["baselines"]["linear"] for skill in skills],
    )
    files = {"figure": write(out / "skill_by_fold.png", png(drawn)), "folder": out}
    show_files(talk, files)
    talk.document(
        {
            "folds": [fold._asdict() for fold in result.folds],
            "verdict": Evaluation({}, result.verdicts).as_json()["verdict"],
            "notes": result.notes,
        }
        | {name: str(path) for name, path in files.items()}
    )
    return result.verdicts["persistence"].skill
