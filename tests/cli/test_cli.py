"""Run every command through `main` in one directory, where later commands use the runs of earlier ones."""

import contextlib
import inspect
import json
import os
import re
import shlex
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from digit_makers import npz
from helps import commands, examples
from lstm_ae_cli import main
from lstm_ae_cli.snp_forecast import compare_by_day
from processes import imported_by
from sampling import sampled
from searches import call, rows_of

from lstm_ae import __version__
from lstm_ae.evaluation import Verdict
from lstm_ae.studies.snp.forecasting import ALL_DAYS

SMALL_DIGITS = "--units 4 --epochs 1"  # as in the help examples, so that commands reuse their runs
HELP = Path(__file__).with_name("help.json")
SMALL_WALKS = "--window 4 --units 2 --epochs 1"


def in_order():
    """Return the help examples in an order in which each command finds the runs that it uses."""
    order = ("data", "example", "check", "train", "evaluate", "plot", "predict", "audit", "backtest")
    order += ("detect", "encode", "reconstruct", "forecast", "classify", "tune")
    order += ("list", "show", "export", "report", "serve", "watch", "explain")
    # tests/bench runs the benchmarks, which start a TensorFlow process for each contestant.
    found = [line for path, line in examples().items() if path[0] != "bench"]
    lines = sorted(dict.fromkeys(found), key=lambda line: order.index(verb(line)))
    lines.remove("lstmae serve saved_models")  # does not end
    return lines


def verb(line):
    words = shlex.split(line)
    return words[1] if words[1] in ("export", "report", "serve", "predict", "watch", "explain") else words[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    (place / "data").mkdir()
    npz(place / "data/mnist.npz")
    (place / "pump.csv").write_text("pressure\n" + "".join(f"{k % 7}\n" for k in range(200)))
    (place / "walks.csv").write_text(
        "level,kind\n" + "".join(f"{k % 7},{'slow' if k % 7 < 3 else 'fast'}\n" for k in range(200))
    )
    (place / "week.csv").write_text("value\n" + "".join(f"{k / 50}\n" for k in range(50)))
    (place / "saved_models").symlink_to(Path(__file__).parents[2] / "saved_models")
    return place


@pytest.fixture(scope="module")
def said_in_training(place):
    """Train the run `one` and return the exit code and the output of the command."""
    with contextlib.chdir(place):
        return call("toy train --sequences 100 --epochs 1 --units 2 --deterministic --out one")


@pytest.fixture(scope="module")
def trained(place, said_in_training):
    """Return a directory with two toy runs; `two` is trained with the config of `one`."""
    assert said_in_training.code == 0
    with contextlib.chdir(place):
        assert main(shlex.split("toy train --config one/config.json --no-deterministic --seed 3 --out two")) == 0
    return place


@pytest.fixture(autouse=True)
def _there(place, empty_directory, monkeypatch):
    monkeypatch.chdir(place)
    # Use generated digits, whatever this machine has or can download. The prices come with the package.
    monkeypatch.setenv("LSTMAE_DATA_DIR", "data")


def document(line):
    said = call(f"{line} --json --quiet")
    assert (said.code, said.err) == (0, "")
    return json.loads(said.out)


def picture(path):
    pixels = matplotlib.image.imread(path)
    assert pixels.std() > 0.01, f"{path} is blank"
    return pixels


def test_version_option_prints_the_version():
    assert call("--version") == (0, f"lstmae {__version__}\n", "")


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_help_is_one_sentence_and_an_example(path):
    help = dict(commands())[path].help
    sentence, example = help.split("\n\nExample: ")
    assert sentence.endswith(".")
    assert ". " not in sentence
    assert example.startswith(" ".join(("lstmae", *path[:1])))


@pytest.fixture
def read_help(capsys, monkeypatch):
    """Return a function that returns the arguments and options of a help screen, each with its value and default."""
    monkeypatch.setenv("COLUMNS", "400")

    def call(command, option="--help"):
        command.main([option], standalone_mode=False)
        found = {}
        for row in re.findall(r"^│[ *]+(\S.*\S) +│$", capsys.readouterr().out, re.M):
            name, *values, text = re.split(r" {2,}", row)
            found[name] = " ".join([*values, *re.findall(r"\[(?:default: .*|required)\]$", text)])
        return found

    return call


def test_help_screens_equal_the_recorded_ones(read_help):
    """Compare names, values, and defaults; `LSTMAE_UPDATE_GOLDEN=1` records the screens of changed commands."""
    found = {}
    for path, command in commands():
        shown = read_help(command)
        if hasattr(command, "commands"):
            found[" ".join(path)] = {"help": shown}
        else:
            full = read_help(command, "--help-all")
            assert len(shown) <= 22, path
            options = {name for each in command.params for name in each.opts if name.startswith("--")}
            assert options <= full.keys(), path
            found[" ".join(path)] = {"help": shown, "advanced": dict(full.items() - shown.items())}
    if os.environ.get("LSTMAE_UPDATE_GOLDEN"):
        HELP.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(HELP.read_text())


def test_commands_have_at_most_60_lines():
    commands_ = [command for _, command in commands() if not hasattr(command, "commands")]
    sizes = {command.name: len(inspect.getsourcelines(inspect.unwrap(command.callback))[0]) for command in commands_}
    assert {name: size for name, size in sizes.items() if size > 60} == {}


def test_option_help_has_at_most_12_words():
    for path, command in commands():
        for parameter in command.params if path else ():
            phrase = (parameter.help or "").split(" (")[0]
            assert phrase, (path, parameter.name)
            assert len(phrase.split()) <= 12, (path, parameter.name, phrase)
            assert phrase[0].isupper(), (path, phrase)
            assert "[" not in phrase, (path, phrase)  # Rich takes it for markup.


def test_help_imports_no_numerical_library():
    """Show the help of every command in one process, and check its imports and examples."""
    lines = [shlex.join([*path, "--help"]) for path, _ in commands()]
    modules, out = imported_by(lines)
    assert not modules & {"tensorflow", "keras", "numpy", "pandas", "matplotlib", "sklearn", "scipy"}
    assert out.count("Example: lstmae") == len(lines)
    assert "(lstm)" not in out


# Other slow tests run these commands or the same verbs of another study.
REPEATED = ("mnist tune", "series backtest", "toy tune")


@pytest.mark.parametrize(
    "line", sampled(in_order(), slow=[line for line in in_order() if " ".join(line.split()[1:3]) not in REPEATED])
)
def test_help_example_runs_without_error(line):
    for verb, options in (
        ("classify", f"walks.csv --label-col kind {SMALL_WALKS}"),
        ("forecast", "pump.csv --epochs 1"),
    ):
        if f" {verb} " in line:
            trained, _, err = call(f"series train {options} --task {verb}")
            assert trained == 0, err
    code, out, err = call(line.removeprefix("lstmae "))
    assert code == 0, err
    assert out
    assert "Traceback" not in err


def test_train_writes_a_complete_run_directory():
    found = document("toy train --sequences 200 --epochs 2 --units 4 --out 'my run'")
    assert found["run"] == "my run"
    assert found["metrics"] == json.loads(Path("my run/metrics.json").read_text())
    assert [row["epoch"] for row in rows_of("my run/history.csv")] == ["0", "1", "2"]
    assert [row["loss"] == "" for row in rows_of("my run/history.csv")] == [True, False, False]
    assert json.loads(Path("my run/config.json").read_text())["config"]["units"] == 4
    for figure in ("reconstruction", "loss"):
        picture(f"my run/figures/{figure}.png")
    files = {"config.json", "metrics.json", "history.csv", "model.keras", "figures"}
    assert {path.name for path in Path("my run").iterdir()} - {".lock"} == files


def test_results_go_to_stdout_and_progress_to_stderr(said_in_training):
    code, out, err = said_in_training
    assert code == 0
    assert out.startswith("test reconstruction_mse")
    assert "validation" not in out
    assert "epoch" not in out.split("1 epoch in")[0]
    assert "1 epoch in" in out
    lines = err.splitlines()
    assert lines[0].startswith("data: 100 generated sequences")
    assert lines[1] == "training in one"
    assert [line.split("  ")[0] for line in lines[2:]] == ["epoch 0/1", "epoch 1/1"]


@pytest.mark.slow
def test_predict_reuses_the_run_of_the_same_config_and_data():
    line = "toy predict --sequences 100 --epochs 1 --units 2"
    code, out, err = call(line)
    assert code == 0
    assert "run: new (" in err
    code, again, err = call(line)
    assert (code, again) == (0, out)
    assert "(same configuration and data)" in err
    assert "training in" not in err
    first = document("toy predict --run latest")
    assert first["run"] in out
    table = rows_of(first["predictions"])
    assert list(table[0]) == ["sample", "step", "value", "reconstruction"]
    assert len(table) == 20 * 50
    assert np.isfinite([float(row["reconstruction"]) for row in table]).all()


def test_config_of_a_run_trains_an_equal_model_with_overridden_options(trained):
    first, again = (json.loads((trained / name / "metrics.json").read_text()) for name in ("one", "two"))
    assert again["training"]["parameters"] == first["training"]["parameters"]
    one, two = (json.loads(Path(name, "config.json").read_text())["config"] for name in ("one", "two"))
    assert {key for key in one if one[key] != two[key]} == {"deterministic", "seed"}


@pytest.mark.slow
def test_mnist_predict_classifies_an_image_file(monkeypatch):
    from PIL import Image, ImageDraw

    image = Image.new("L", (28, 28))
    ImageDraw.Draw(image).line([(14, 4), (14, 24)], fill=255, width=3)
    image.save("one digit.png")
    found = document(f"mnist predict 'one digit.png' {SMALL_DIGITS}")["images"]
    assert [row["image"] for row in found] == ["one digit.png"]
    assert 0 <= found[0]["label"] <= 9
    assert 0.1 <= found[0]["probability"] <= 1
    monkeypatch.setattr("lstm_ae.studies.mnist.load", lambda config: pytest.fail("the data was read"))
    code, out, _ = call("mnist predict 'one digit.png' 'one digit.png' --run latest --quiet")
    assert code == 0
    assert out.count("one digit.png") == 2
    picture(out.split("figure: ")[1].strip())


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        (("beats",) * 3, "Useful up to day 3 of 3: "),
        (("beats", "ties with", "beats"), "Useful up to day 1 of 3: "),
        (("ties with", "beats", "loses to"), "Not useful: "),
    ],
)
def test_compare_by_day_summarizes_the_useful_days_ahead(outcomes, sentence):
    verdicts = {str(day): Verdict(outcome, "persistence", 0.1, 0.01) for day, outcome in enumerate(outcomes, 1)}
    verdicts[ALL_DAYS] = verdicts["1"]
    _, reach = compare_by_day(verdicts)
    assert reach.startswith(sentence)


def test_runs_list_and_show(trained):
    listed = document("runs list .")["runs"]
    assert {"one", "two"} <= {row["run"] for row in listed}
    assert [row["created"] for row in listed] == sorted((row["created"] for row in listed), reverse=True)
    shown = document(f"runs show {listed[0]['run']}")
    assert shown["metrics"] == json.loads(Path(listed[0]["run"], "metrics.json").read_text())
    code, out, _ = call("runs show one")
    assert code == 0
    assert "Options that differ from their defaults:" in out
    assert "epsilon" not in out
    code, out, _ = call("runs show one --verbose")
    assert code == 0
    assert "epsilon" in out
    assert "validation" in out


def test_runs_list_marks_unreadable_and_unfinished_runs(trained):
    for name, metrics in (("damaged", "[]"), ("unfinished", None)):
        folder = Path("others", name)
        folder.mkdir(parents=True)
        (folder / "config.json").write_bytes(Path("one/config.json").read_bytes())
        if metrics:
            (folder / "metrics.json").write_text(metrics)
    found = document("runs list others")["runs"]
    assert {(row["run"], row["measure"]) for row in found} == {
        ("others/damaged", "unreadable"),
        ("others/unfinished", "unfinished"),
    }
