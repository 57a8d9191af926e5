"""The shape of the code: imports point one way, the library neither prints nor exits, and TensorFlow waits its turn."""

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import CEILING

ROOT = Path(__file__).parents[1]
# From the ground up. A module may import from layers below its own, and within its own package.
LAYERS = [
    {"lstm_ae", "lstm_ae.errors", "lstm_ae.installation", "lstm_ae.starting", "lstm_ae.words"},
    {"lstm_ae.options", "lstm_ae.judging"},
    {"lstm_ae.config", "lstm_ae.presets"},
    {"lstm_ae.files", "lstm_ae.temporary", "lstm_ae.space"},
    {"lstm_ae.table_files"},
    {"lstm_ae.data"},
    {"lstm_ae.intervals", "lstm_ae.anomaly"},
    {
        "lstm_ae.baselines",
        "lstm_ae.classical",
        "lstm_ae.logistic",
        "lstm_ae.evaluation",
        "lstm_ae.figures",
        "lstm_ae.models",
        "lstm_ae.kernels",
        "lstm_ae.seasonal",
    },
    {
        "lstm_ae.feed",
        "lstm_ae.about",
        "lstm_ae.deform",
        "lstm_ae.keeper",
        "lstm_ae.kept",
        "lstm_ae.optimizers",
        "lstm_ae.limits",
        "lstm_ae.verdicts",
    },
    {"lstm_ae.overlapping"},
    {"lstm_ae.steps", "lstm_ae.halves"},
    {"lstm_ae.training", "lstm_ae.run", "lstm_ae.exporting"},
    {"lstm_ae.tasks", "lstm_ae.card", "lstm_ae.export"},
    {"lstm_ae.experiment", "lstm_ae.opening", "lstm_ae.verify", "lstm_ae.serving"},
    {
        "lstm_ae.search",
        "lstm_ae.backtest",
        "lstm_ae.detection",
        "lstm_ae.encoding",
        "lstm_ae.classification",
        "lstm_ae.examples",
        "lstm_ae.outlook",
    },
    {"lstm_ae.detected", "lstm_ae.origins"},
    {
        "lstm_ae.appraisal",
        "lstm_ae.kfold",
        "lstm_ae.rolling",
        "lstm_ae.estimators",
        "lstm_ae.tables",
        "lstm_ae.sketches",
        "lstm_ae.report",
        "lstm_ae.streaming",
    },
    {"lstm_ae.bench", "lstm_ae.estimate"},
    {"lstm_ae.tour"},
    {"cli"},
]
LIBRARY = sorted((ROOT / "lstm_ae").rglob("*.py"))
EVERYTHING = [*LIBRARY, *sorted((ROOT / "cli").rglob("*.py"))]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path) for path in EVERYTHING}


def imports(path: Path) -> Iterator[str]:
    """Modules of this repository that a file imports, anywhere in it; `from package import module` is the module."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, node.module] if node.module else above)
            found = [full if (full := f"{base}.{alias.name}") in MODULES else base for alias in node.names]
        else:
            continue
        yield from (name.replace("lstm_ae_cli", "cli") for name in found if name.split(".")[0] in _OURS)


_OURS = ("lstm_ae", "lstm_ae_cli", "cli")


def part_of(module: str) -> str:
    """A module's entry in the layers: `lstm_ae.data` for `lstm_ae.data.toy`."""
    parts = module.split(".")
    return "cli" if parts[0] == "cli" else ".".join(parts[:2])


def layer_of(module: str) -> int:
    found = [number for number, layer in enumerate(LAYERS) if part_of(module) in layer]
    assert found, f"{module} stands in no layer; give it one"
    return found[0]


def test_the_walk_sees_what_there_is() -> None:
    assert {"lstm_ae", "lstm_ae.run", "lstm_ae.tasks.toy", "cli", "cli.app"} <= MODULES
    assert set(imports(ROOT / "cli" / "app.py")) >= {"cli.studies", "cli.errors", "lstm_ae"}
    assert set(imports(ROOT / "lstm_ae" / "tasks" / "toy.py")) >= {"lstm_ae.data.toy", "lstm_ae.figures.signals"}


@pytest.mark.parametrize("path", EVERYTHING, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    module = name_of(path)
    for imported in imports(path):
        same_package = part_of(imported) == part_of(module)
        assert same_package or layer_of(imported) < layer_of(module), f"{module} imports {imported}"


def test_no_module_imports_itself_in_the_end() -> None:
    """Within a package as well: what a module needs never needs the module."""
    needs = {name_of(path): {found for found in imports(path) if found in MODULES} for path in EVERYTHING}
    # A package's __init__ runs before its modules whoever asks for them, so that importing it is no cycle by itself.
    while ready := {module for module, wanted in needs.items() if not wanted & set(needs) - {module}}:
        needs = {module: wanted for module, wanted in needs.items() if module not in ready}
    assert not needs


def test_a_wheel_holds_every_package() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {name_of(path) for path in LIBRARY if path.name == "__init__.py"}
    assert set(listed) == found | {"lstm_ae_cli"}


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_the_library_returns_or_raises(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "input", "exit", "quit", "sys.exit", "os._exit", "breakpoint"), called
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not names & {"argparse", "typer", "click", "rich"}, names
        if isinstance(node, ast.Raise) and node.exc:
            assert "SystemExit" not in ast.unparse(node.exc)


@pytest.mark.parametrize("path", EVERYTHING, ids=name_of)
def test_files_that_a_reader_holds(path: Path) -> None:
    # A file is as long as its concept needs; one that is far longer holds several.
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "a module says what it is for"


@pytest.mark.parametrize(
    "program",
    [
        "import lstm_ae, lstm_ae.config, lstm_ae.run, lstm_ae.experiment, lstm_ae_cli",
        """
from lstm_ae.config import Toy
from lstm_ae.tasks.toy import describe, load
config = Toy(sequences=20)
assert describe(config, load(config))
""",
        """
from lstm_ae.config import Snp
from lstm_ae.tasks.snp import describe, load
config = Snp(symbols=("IBM",))
assert describe(config, load(config))
""",
        """
import sys
import numpy
from lstm_ae.config import Mnist
from lstm_ae.tasks.mnist import describe, load
label = (numpy.arange(60) % 10).astype("uint8")
image = numpy.zeros((60, 28, 28), "uint8")
numpy.savez("digits.npz", x_train=image, y_train=label, x_test=image, y_test=label)
config = Mnist(data="digits.npz")
assert describe(config, load(config))
""",
    ],
    ids=["command line", "toy", "snp", "mnist"],
)
def test_no_tensorflow_before_it_is_needed(program: str) -> None:
    program += "\nimport json, sys\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=CEILING)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "lstm_ae" in loaded
    assert not loaded & {"tensorflow", "keras", "keras_tuner", "tensorboard"}
