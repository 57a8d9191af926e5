"""Test the tracking of training with TensorBoard and MLflow."""

import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sampling import sampled
from searches import call

from lstm_ae import experiment, tracking
from lstm_ae.config import Mnist, Toy
from lstm_ae.errors import ConfigError
from lstm_ae.run import Run, open_run
from lstm_ae.studies import load_study
from lstm_ae.training.observer import Progress, ProgressObserver

TOY = Toy(sequences=20, units=2, epochs=3)
needs_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="MLflow is not installed")


def train(*, notify: Callable[[Progress], None] | None = None, trackers: list[tracking.Tracker]) -> Run:
    data = load_study("toy").load(TOY)
    return experiment.train(TOY, data, out=Path("run"), observer=notify and ProgressObserver(notify), trackers=trackers)


@pytest.mark.parametrize("command", ["toy train", "series train pump.csv", "series train --resume"])
def test_missing_mlflow_is_reported_in_one_line(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    said = call(f"{command} --mlflow sqlite:///store.db")
    assert said.code == 2
    assert "mlflow" in said.last
    assert "pip install" in said.last
    assert not list(Path().iterdir())


def test_metric_names_are_made_valid_for_mlflow() -> None:
    metric = {"value": 0.5, "baselines": {"always 'a,b'": 0.25, "none": None}, "unit": "", "higher_is_better": True}
    content = {"test": {"accuracy": metric}, "training": {"best_epoch": 3, "stopped": ""}, "leaky": ""}
    expected = {"test/accuracy": 0.5, "test/accuracy/always _a_b_": 0.25, "best_epoch": 3}
    assert tracking._result_metrics(content) == expected


@pytest.mark.slow
def test_tensorboard_tracker_writes_event_files() -> None:
    run = train(trackers=[tracking.tensorboard])
    assert list(run.tensorboard.rglob("events.out.tfevents.*"))


def test_trackers_keep_several_networks_apart(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with tracking.tensorboard(run) as recorder:
        assert recorder(tracking.network_name(None)).log_dir == str(run.tensorboard)
        assert recorder(tracking.network_name(7.0)).log_dir == str(run.tensorboard / "seed-7")
    assert tracking._metric_name(tracking.network_name(None), "loss") == "loss"
    assert tracking._metric_name(tracking.network_name(7.0), "loss") == "seed-7/loss"


@pytest.fixture
def uri(tmp_path: Path) -> Iterator[str]:
    """Return the URI of a store, and reset the default store after the test."""
    import mlflow

    yield f"sqlite:///{tmp_path}/store.db"
    mlflow.set_tracking_uri("")


def records(uri: str, task: str = "toy") -> Any:
    """Return a client of a store, and the runs in the experiment of a task."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    return client, client.search_runs([client.get_experiment_by_name(f"lstmae-{task}").experiment_id])


@needs_mlflow
@pytest.mark.slow
# MLflow emits its own warnings and uses features that SQLAlchemy 2.1 deprecates.
@pytest.mark.filterwarnings("ignore")
class TestMlflow:
    def test_command_records_options_metrics_figures_and_model(self, uri: str) -> None:
        import mlflow

        said = call(f"toy train --sequences 20 --units 2 --epochs 3 --out run --mlflow {uri} --json")
        assert said.code == 0, said.err
        run = open_run("run", "toy")
        client, (record,) = records(uri)
        assert record.info.status == "FINISHED"
        assert record.info.run_name == "run"
        assert record.data.params["units"] == "2"
        assert record.data.params["learning_rate"] == str(run.config().learning_rate)
        assert record.data.tags["lstmae.data"] == run.about()["data"]["text"]
        for name in ("loss", "val_loss"):
            stored = [(one.step, one.value) for one in client.get_metric_history(record.info.run_id, name)]
            assert stored == [
                (row["epoch"], pytest.approx(row[name], rel=1e-4)) for row in run.history() if row["epoch"]
            ]
        value = run.metrics()["test"]["reconstruction_mse"]
        assert record.data.metrics["test/reconstruction_mse"] == pytest.approx(value["value"])
        assert record.data.metrics["test/reconstruction_mse/mean sequence"] > 0
        assert {file.path for file in client.list_artifacts(record.info.run_id, "figures")} == {
            f"figures/{path.name}" for path in (run.directory / "figures").iterdir()
        }
        mlflow.set_tracking_uri(uri)
        address = f"runs:/{record.info.run_id}/model"
        windows = np.random.default_rng(0).random((4, 50, 1), np.float32)
        answers = [
            model.predict(windows)["reconstruction"] for model in (mlflow.keras.load_model(address), run.model())
        ]
        assert np.array_equal(*answers)
        signature = mlflow.models.get_model_info(address).signature
        (given,), (returned,) = signature.inputs.inputs, signature.outputs.inputs
        assert (given.name, returned.name) == ("sequence", "reconstruction")
        assert given.shape == returned.shape == (-1, -1, 1)
        assert given.type == np.float32
        served = mlflow.pyfunc.load_model(address).predict({"sequence": windows})
        assert np.array_equal(served.item()["reconstruction"], answers[0])

    @pytest.mark.parametrize("folder", sampled((".", "o'brien"), slow=("o'brien",)))
    def test_resumed_training_continues_its_mlflow_run(
        self, uri: str, folder: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path(folder).mkdir(exist_ok=True)
        monkeypatch.chdir(folder)

        def interrupt(progress: Progress) -> None:
            if progress.epoch == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(notify=interrupt, trackers=[tracking.Mlflow(uri)])
        _, (record,) = records(uri)
        assert record.info.status == "KILLED"
        run = open_run("run", "toy")
        experiment.resume(run, TOY, load_study("toy").load(TOY), trackers=[tracking.Mlflow(uri)])
        client, (record,) = records(uri)
        assert record.info.status == "FINISHED"
        assert {one.step for one in client.get_metric_history(record.info.run_id, "val_loss")} == {1, 2, 3}

    @pytest.mark.exhaustive
    def test_epochs_before_tracking_are_recorded_at_the_end(self, uri: str) -> None:
        def interrupt(progress: Progress) -> None:
            if progress.epoch == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(notify=interrupt, trackers=[])
        run = open_run("run", "toy")
        experiment.resume(run, TOY, load_study("toy").load(TOY), trackers=[tracking.Mlflow(uri)])
        client, (record,) = records(uri)
        stored = {one.step: one.value for one in client.get_metric_history(record.info.run_id, "val_loss")}
        assert stored == {row["epoch"]: pytest.approx(row["val_loss"], rel=1e-4) for row in run.history()[1:]}

    @pytest.mark.exhaustive
    def test_mlflow_run_is_failed_when_recording_the_results_fails(
        self, uri: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*arguments: Any) -> None:
            raise OSError("full")

        monkeypatch.setattr(tracking.Mlflow, "_record_results", fail)
        with pytest.raises(ConfigError, match="full"):
            train(trackers=[tracking.Mlflow(uri)])
        _, (record,) = records(uri)
        assert record.info.status == "FAILED"
        assert Run(Path("run")).finished

    @pytest.mark.parametrize("uri", ["nonsense://store", "sqlite:////dev/null/store.db"])
    def test_unusable_mlflow_store_is_refused(self, uri: str) -> None:
        with pytest.raises(ConfigError, match=uri):
            tracking.Mlflow(uri)

    @pytest.mark.exhaustive
    def test_rejected_metrics_are_sent_again_later(
        self, uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        log, calls = MlflowClient.log_batch, iter(range(100))

        def fail_twice(client: Any, run_id: str, metrics: Any = (), **rest: Any) -> Any:
            if metrics and next(calls) < 2:
                raise MlflowException("busy")
            return log(client, run_id, metrics, **rest)

        monkeypatch.setattr(MlflowClient, "log_batch", fail_twice)
        train(trackers=[tracking.Mlflow(uri)])
        client, (record,) = records(uri)
        assert sorted(one.step for one in client.get_metric_history(record.info.run_id, "loss")) == [1, 2, 3]
        assert sum("busy" in line for line in caplog.messages) == 2

    def test_model_signature_names_both_outputs(self) -> None:
        config = Mnist(units=2)
        model = load_study("mnist").build(config, load_study("mnist").load(config))
        signature = tracking._model_signature(model)
        assert len({one.name for one in signature.outputs.inputs}) == 2
