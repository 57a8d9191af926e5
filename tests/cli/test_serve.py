"""Test the options of `lstmae serve` and the config files for TensorFlow Serving."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from searches import call
from served_models import save
from tensorflow_serving.config import model_server_config_pb2

from lstm_ae.errors import ConfigError
from lstm_ae.serving.config import BatchingConfig, Ports, RequestLimits, ServerConfig
from lstm_ae.serving.errors import Refusal
from lstm_ae.serving.model_folders import ServedModel, VersionPolicy, discover_models
from lstm_ae.serving.tensorflow_serving import CONTAINER_ROOT, parse_models, read_models, write_tensorflow_serving

TENSORFLOW = "model_platform: 'tensorflow'"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("nowhere", 3, "There is no folder 'nowhere'"),
        (".", 3, "contains no exported model"),
        (". --versions x", 2, "--versions must be latest, all, or numbers"),
        (". --versions 1,", 2, "--versions must be latest, all, or numbers"),
        (". --label x", 2, "--label must be model:label=version"),
        (". --label a:b=c", 2, "--label must be model:label=version"),
        (". --allowed-batch-sizes 4,2,64", 2, "must be ascending numbers"),
        (". --allowed-batch-sizes 4,8", 2, "the last one --max-batch-size (64)"),
        (". --allowed-batch-sizes 0,64", 2, "must be ascending numbers"),
        (". --rest-port 70000", 2, "--rest-port must be a whole number at least 0 and at most 65535. Received: 70000"),
        (". --grace 21", 2, "--grace must be at most --drain (20). Received: 21"),
        (". --max-batch-size 0", 2, "--max-batch-size must be a whole number at least 1"),
        (". --models-config m --versions all", 2, "Remove --versions and --label"),
        (". --models-config m", 1, "No such file"),
    ],
)
def test_serve_refuses_invalid_options_in_one_line(line: str, code: int, words: str) -> None:
    said = call(f"serve {line}")
    assert said.code == code, said.err
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("--versions 7", 3, "No version to serve: 'toy' (versions 7) in '"),
        ("--models-config lost.config", 3, "No version to serve: 'x' (versions latest 2) in 'lost'"),
        ("--label tyo:beta=1", 2, "--label must begin with one of toy. Received: 'tyo'"),
        ("--label toy:stable=9", 2, "The label 'stable' refers to version 9 of 'toy', which is not served"),
        ("--label toy:stable=1", 2, "is not served (versions latest). Serve it, or remove the label"),
        ("--models-config label.config", 2, "The label 'old' refers to version 1 of 'toy', which is not served"),
    ],
)
def test_serve_refuses_versions_and_labels_that_are_not_served(
    tmp_path: Path, options: str, code: int, words: str
) -> None:
    for version in "12":
        (tmp_path / "served" / "toy" / version).mkdir(parents=True)
        (tmp_path / "served" / "toy" / version / "saved_model.pb").touch()
    policy = "model_version_policy { latest { num_versions: 2 } }"
    Path("lost.config").write_text(
        f"model_config_list {{ config {{ name: 'x' base_path: 'lost' {TENSORFLOW} {policy} }} }}"
    )
    labels = "version_labels { key: 'old' value: 1 }"
    Path("label.config").write_text(
        f"model_config_list {{ config {{ name: 'toy' base_path: 'served/toy' {TENSORFLOW} {labels} }} }}"
    )
    said = call(f"serve served {options}")
    assert said.code == code, said.err
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_tf_serving_config_lists_all_models_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "1").mkdir(parents=True)
    (tmp_path / "b b" / "7").mkdir(parents=True)
    for place in ("a/1", "b b/7"):
        (tmp_path / place / "saved_model.pb").touch()
    path, command = write_tensorflow_serving(
        tmp_path,
        discover_models(tmp_path, VersionPolicy("all"), [("a", "stable", 1)]),
        ServerConfig(Ports("127.0.0.1", 81, 80)),
    )
    found = model_server_config_pb2.ModelServerConfig()
    text_format.Parse(path.read_text(), found)
    a, b = found.model_config_list.config
    assert (a.name, a.base_path, a.model_platform, dict(a.version_labels)) == (
        "a",
        "/models/a",
        "tensorflow",
        {"stable": 1},
    )
    assert b.base_path == "/models/b b"
    assert a.model_version_policy.HasField("all")
    ports = "-p 127.0.0.1:80:8500 -p 127.0.0.1:81:8501"
    assert command.startswith(f"docker run --rm {ports} -v {tmp_path}:/models:ro tensorflow/serving")
    assert "--model_config_file=/models/models.config" in command
    assert "--allow_version_labels_for_unavailable_models" in command
    assert parse_models(found) == [
        ServedModel("a", Path("/models/a"), VersionPolicy("all"), (("stable", 1),)),
        ServedModel("b b", Path("/models/b b"), VersionPolicy("all")),
    ]


def test_tf_serving_command_passes_tensor_content_serialization(tmp_path: Path) -> None:
    (tmp_path / "one" / "3").mkdir(parents=True)
    (tmp_path / "one" / "3" / "saved_model.pb").touch()
    flag = "--enable_serialization_as_tensor_content=true"
    assert flag not in call("serve . --tf-serving").out
    assert flag in call("serve . --tf-serving --enable-serialization-as-tensor-content").out


def test_tf_serving_config_for_a_single_model_folder(tmp_path: Path) -> None:
    (tmp_path / "one" / "3").mkdir(parents=True)
    (tmp_path / "one" / "3" / "saved_model.pb").touch()
    path, command = write_tensorflow_serving(
        tmp_path / "one", discover_models(tmp_path / "one", VersionPolicy("latest", 2))
    )
    assert f"-v {tmp_path / 'one'}:/models/one:ro" in command
    assert command.endswith("--model_config_file=/models/one/models.config")
    assert 'base_path: "/models/one"' in path.read_text()
    assert not isinstance(CONTAINER_ROOT, Path)  # paths in the container use slashes on every platform
    assert "num_versions: 2" in path.read_text()


def test_tf_serving_command_passes_ports_limits_and_batching(tmp_path: Path) -> None:
    (tmp_path / "one" / "3").mkdir(parents=True)
    (tmp_path / "one" / "3" / "saved_model.pb").touch()
    models = discover_models(tmp_path, VersionPolicy())
    _, command = write_tensorflow_serving(
        tmp_path,
        models,
        ServerConfig(
            Ports("::1", 81, None), BatchingConfig(8, 0.002, sizes=(4, 8)), RequestLimits(seconds=0.5), poll=2.5
        ),
    )
    assert "--rm -p '[::1]:81:8501' -v" in command
    assert command.endswith(
        "--file_system_poll_wait_seconds=3 --rest_api_timeout_in_ms=500 --enable_batching=true "
        "--batching_parameters_file=/models/batching.config"
    )
    assert (tmp_path / "batching.config").read_text().splitlines()[1:] == [
        "max_batch_size { value: 8 }",
        "batch_timeout_micros { value: 2000 }",
        "max_enqueued_batches { value: 100 }",
        "num_batch_threads { value: 2 }",
        "allowed_batch_sizes: 4",
        "allowed_batch_sizes: 8",
    ]
    with pytest.raises(ConfigError, match="no counterpart of --drain, --allowed-host, --max-body"):
        write_tensorflow_serving(
            tmp_path,
            models,
            ServerConfig(limits=RequestLimits(body=1), drain_seconds=1, hosts=("x",)),
        )


def test_serve_with_tf_serving_writes_models_config(tmp_path: Path) -> None:
    save(tmp_path / "served" / "plus", 1)
    said = call("serve served --tf-serving --json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["models_config"].endswith("served/models.config")
    assert (tmp_path / "served" / "models.config").is_file()


def test_tf_serving_does_not_overwrite_a_user_models_config(tmp_path: Path) -> None:
    save(tmp_path / "served" / "plus", 1)
    own = tmp_path / "served" / "models.config"
    own.write_text(f"model_config_list {{ config {{ name: 'x' base_path: 'plus' {TENSORFLOW} }} }}")
    for more in ("", " --models-config served/models.config"):
        said = call("serve served --tf-serving" + more)
        assert said.code == 2
        assert "models.config' was not written by --tf-serving. Move it" in said.err
        assert own.read_text().startswith("model_config_list {")
    own.unlink()
    for _ in range(2):  # the second call overwrites the file of the first
        assert call("serve served --tf-serving").code == 0
    assert [model.name for model in read_models(own)] == ["plus"]


def test_tf_serving_resolves_symlinks_and_refuses_outside_targets(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere", 1)
    served = tmp_path / "served"
    save(served / "plus", 1)
    (served / "same").symlink_to("plus")
    path, _ = write_tensorflow_serving(served, discover_models(served, VersionPolicy()))
    assert [str(model.base) for model in read_models(path)] == ["/models/plus", "/models/plus"]
    (served / "link").symlink_to(tmp_path / "elsewhere")
    said = call("serve served --tf-serving")
    assert said.code == 2
    assert "The model 'link' is at" in said.err
    assert "Copy the model into it" in said.err


def config(text: str) -> Any:
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must contain a model_config_list"),
        ("model_config_list { config { name: 'a' } }", "needs a name and a base_path"),
        ("model_config_list { config { name: 'a' base_path: '/a' model_platform: 'onnx' } }", "must be tensorflow"),
        ("model_config_list { config { name: 'a' base_path: '/a' } }", "must be tensorflow"),
        (
            f"model_config_list {{ config {{ name: 'a' base_path: '/a' {TENSORFLOW} model_type: TENSORFLOW }} }}",
            "Illegal setting both",
        ),
        (f"model_config_list {{ config {{ name: 'a' base_path: 'a' {TENSORFLOW} }} }}", "an absolute path"),
        (
            f"model_config_list {{ config {{ name: 'a' base_path: '/a' {TENSORFLOW} }} "
            f"config {{ name: 'a' base_path: '/b' {TENSORFLOW} }} }}",
            "have the same name",
        ),
    ],
)
def test_parse_models_refuses_unsupported_configurations(text: str, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        parse_models(config(text))


def test_read_models_reads_a_models_config_file(tmp_path: Path) -> None:
    (tmp_path / "models.config").write_text(
        "model_config_list { config { name: 'x' base_path: 'sub' model_type: TENSORFLOW "
        "model_version_policy { specific { versions: 4 } } } }"
    )
    assert read_models(tmp_path / "models.config") == [
        ServedModel("x", tmp_path / "sub", VersionPolicy("specific", versions=(4,)))
    ]
    (tmp_path / "models.config").write_text("models {")
    with pytest.raises(ConfigError, match=r"is not TensorFlow Serving's models\.config"):
        read_models(tmp_path / "models.config")
