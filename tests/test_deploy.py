"""Test the files in docs/deploy without running them: paths, commands, users, requirements, and metrics."""

import configparser
import fnmatch
import json
import re
import shlex
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import NamedTuple

import pytest
from commands import parse_command
from packaging.requirements import Requirement
from servers import live

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs/deploy"
FILES = ROOT / "lstm_ae/watch/files"
DOCKERFILES = sorted(DEPLOY.glob("*.Dockerfile"))


class Instruction(NamedTuple):
    stage: int
    name: str
    arguments: str


def instructions(path):
    """Return the instructions of a Dockerfile, without comments and with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.M)
    stage, found = -1, []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            name, arguments = line.split(None, 1)
            stage += name == "FROM"
            found.append(Instruction(stage, name, arguments))
    return found


def final(path, name):
    """Return the arguments of an instruction that must occur exactly once in the last stage."""
    found = instructions(path)
    (arguments,) = (one.arguments for one in found if one.stage == found[-1].stage and one.name == name)
    return arguments


def is_ignored(path, rules):
    """Return whether the rules of a .dockerignore exclude a path; a rule for a folder applies to its contents."""
    ignored = False
    for rule in rules:
        depth = rule.lstrip("!").count("/") + 1
        parts = path.split("/")
        if len(parts) >= depth and all(map(fnmatch.fnmatch, parts, rule.lstrip("!").split("/"))):
            ignored = not rule.startswith("!")
    return ignored


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
class TestDockerfile:
    def test_copied_files_exist_and_are_in_the_context(self, path):
        lines = Path(f"{path}.dockerignore").read_text(encoding="utf-8").splitlines()
        rules = [line for line in lines if line and not line.startswith(("#", "**"))]
        copied = [shlex.split(one.arguments) for one in instructions(path) if one.name == "COPY"]
        sources = [source for words in copied if not words[0].startswith("--from") for source in words[:-1]]
        assert {"pyproject.toml", "lstm_ae", "cli"} <= set(sources)
        for source in sources:
            assert (ROOT / source).exists(), source
            assert not is_ignored(source, rules), source
        assert is_ignored("runs", rules)
        assert is_ignored(".git", rules)

    def test_command_is_a_valid_lstmae_command(self, path):
        parse_command(shlex.join(json.loads(final(path, "ENTRYPOINT")) + json.loads(final(path, "CMD"))))

    def test_image_user_is_not_root(self, path):
        user, _, group = final(path, "USER").partition(":")
        assert int(user) > 0
        assert int(group) > 0


def test_serving_image_contains_only_exported_models():
    rules = (DEPLOY / "serve.Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    models = sorted(path.parent for path in (ROOT / "saved_models").glob("*/model.keras"))
    assert models
    for model in models:
        for path in model.iterdir():
            assert is_ignored(path.relative_to(ROOT).as_posix(), rules) == (not path.name.isdigit())


def test_serving_image_listens_on_its_exposed_ports_on_all_addresses():
    path = DEPLOY / "serve.Dockerfile"
    typed = parse_command(shlex.join(json.loads(final(path, "ENTRYPOINT")) + json.loads(final(path, "CMD"))))
    assert typed["host"] == "0.0.0.0"
    assert {str(typed["rest_port"]), str(typed["grpc_port"])} == set(final(path, "EXPOSE").split())
    assert f"127.0.0.1:{typed['rest_port']}/health" in final(path, "HEALTHCHECK")
    (copied,) = (one for one in instructions(path) if one.arguments.startswith("saved_models "))
    assert copied.arguments.split()[-1] == str(typed["folder"])


def test_serving_requirements_equal_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [Requirement(text) for text in project["dependencies"] + project["optional-dependencies"]["serve"]]
    known = {one.name: str(one.specifier) for one in declared}
    lines = (DEPLOY / "serve-requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if not line.startswith("#")]
    run = " ".join(one.arguments for one in instructions(DEPLOY / "serve.Dockerfile") if one.name == "RUN")
    pinned += [Requirement(text) for text in re.findall(r'"([\w-]+>=[\d.]+)"', run)]
    names = {one.name.replace("tensorflow-cpu", "tensorflow") for one in pinned}
    assert {Requirement(text).name for text in project["optional-dependencies"]["serve"]} <= names
    assert {one.name.replace("tensorflow-cpu", "tensorflow"): str(one.specifier) for one in pinned} == {
        name: known[name] for name in names
    }


def test_compose_file_builds_both_images_with_read_only_file_systems():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    built = [(DEPLOY / one["build"]["context"] / one["build"]["dockerfile"]).resolve() for one in services.values()]
    assert sorted(built) == DOCKERFILES
    for service in services.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert any(mount.startswith("/tmp") for mount in service["tmpfs"])
    assert all(port.startswith("127.0.0.1:") for port in services["serve"]["ports"])


def test_unit_of_the_watch_runs_a_valid_command_with_a_stored_state():
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read(DEPLOY / "lstmae-watch.service", encoding="utf-8")
    program, _, words = unit["Service"]["ExecStart"].partition(" ")
    assert Path(program).name == "lstmae"
    typed = parse_command(f"lstmae {words}")
    assert typed["file"] == Path("/etc/lstmae/watch.toml")
    assert not typed["check"]
    assert unit["Service"]["WorkingDirectory"] == f"/var/lib/{unit['Service']['StateDirectory']}"


def known_metrics():
    """Return the names of the metrics at the endpoint of the watch."""
    from lstm_ae.watch.metrics import MonitorCollector

    suffixes = {"counter": "_total", "info": "_info"}
    return {f"{each.name}{suffixes.get(each.type, '')}" for each in MonitorCollector([]).collect()}


def named_metrics(expression):
    return set(re.findall(r"\b(?:lstmae|anomaly)_\w+", expression))


def test_dashboard_shows_every_metric_of_the_watch():
    board = json.loads((FILES / "dashboard.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert set.union(*map(named_metrics, expressions)) == known_metrics() - {
        "lstmae_watch_last_score_timestamp_seconds"
    }
    variables = {each["name"]: each["query"] for each in board["templating"]["list"]}
    queries = [query["query"] for query in variables.values() if isinstance(query, dict)]
    assert set.union(*map(named_metrics, queries)) <= known_metrics()
    used = {name for text in (*expressions, *queries) for name in re.findall(r"\$(?!__)(\w+)", text)}
    assert used | {"datasource"} == set(variables)


def test_compose_file_of_the_watch_uses_the_files_that_init_writes():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    from lstm_ae.watch.config import template_files

    text = (DEPLOY / "watch-compose.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    written = {str(path) for path in template_files(Path("watch.toml"))}
    mounted = {Path(each["file"]).name for each in content["configs"].values() if "file" in each}
    assert mounted == written - {"watch.toml"}
    (watch,) = (each for each in content["services"].values() if each["image"] == "lstm-ae-train")
    assert parse_command(f"lstmae {shlex.join(watch['command'])}")["file"] == Path("watch.toml")
    compile(watch["healthcheck"]["test"][3], "healthcheck", "exec")
    settings = {name: yaml.safe_load(each["content"]) for name, each in content["configs"].items() if "content" in each}
    ((target,),) = (each["static_configs"][0]["targets"] for each in settings["prometheus"]["scrape_configs"])
    assert target == "watch:9464"
    for service in content["services"].values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert {each["source"] for each in service.get("configs", [])} <= set(content["configs"])
        volumes = {mount.partition(":")[0] for mount in service["volumes"]}
        assert volumes <= {*content["volumes"], "./"}
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    # Docker gives a new volume the owner of the folder in the image.
    folders = {mount.split(":")[1] for mount in watch["volumes"]}
    assert folders <= set((DEPLOY / "train.Dockerfile").read_text(encoding="utf-8").split())


def test_alert_rules_name_metrics_of_the_watch():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    known = known_metrics()
    (group,) = yaml.safe_load((FILES / "rules.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]:
        named = named_metrics(rule["expr"])
        assert named, rule
        assert named <= known, rule


PROGRAM_WITHOUT = """
import sys
from importlib.metadata import packages_distributions

lacking = set({lacking})
absent = {{module for module, names in packages_distributions().items() if set(names) <= lacking}}
assert {{"pandas", "sklearn", "matplotlib"}} <= absent


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Absent())
from lstm_ae_cli import main

sys.exit(main())
"""


@pytest.mark.slow
def test_server_runs_with_only_the_packages_of_the_serving_image():
    """The server answers without the dependencies of the package that are neither listed nor needed by TensorFlow."""
    lines = (DEPLOY / "serve-requirements.txt").read_text(encoding="utf-8").splitlines()
    present = {Requirement(line).name for line in lines if not line.startswith("#")}
    present |= {Requirement(text).name for name in ("tensorflow", "keras", "typer") for text in requires(name)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lacking = {Requirement(text).name for text in project["dependencies"]} - present
    with live(ROOT / "saved_models/toy", program=PROGRAM_WITHOUT.format(lacking=sorted(lacking))) as server:
        status, answer = server.ask("/v1/models/toy:predict", {"instances": [[[0.1], [0.5]]]})
        assert (status, len(answer["predictions"][0])) == (200, 2)
        assert server.stop() == 0
