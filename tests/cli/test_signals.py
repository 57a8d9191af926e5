"""Test how commands handle one, two, and three signals."""

import os
import signal
import subprocess
import sys

import pytest
from lstm_ae_cli import main
from lstm_ae_cli.signals import call_on_signal, defer_signals, handle_signals
from processes import CEILING

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def usual_handlers():
    before = {number: signal.signal(number, signal.default_int_handler) for number in BOTH}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers():
    return [signal.getsignal(number) for number in BOTH]


@pytest.mark.parametrize("number", BOTH)
def test_first_signal_interrupts_second_is_recorded_and_third_exits(number, monkeypatch):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with handle_signals() as came:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(number)
        assert codes == []
        signal.raise_signal(signal.SIGINT)
    assert came == [number, number, signal.SIGINT]
    assert codes == [130]
    assert handlers() == [signal.SIG_IGN] * 2


def test_handlers_are_restored_when_no_signal_arrives():
    before = handlers()
    with handle_signals():
        assert handlers() != before
    assert handlers() == before


def test_signal_ignored_by_the_caller_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with handle_signals() as came:
        signal.raise_signal(signal.SIGINT)
    assert came == []


def test_deferred_signal_interrupts_at_the_end():
    seen = []

    def work():
        with defer_signals() as came:
            signal.raise_signal(signal.SIGTERM)
            seen.extend(came)

    with handle_signals(), pytest.raises(KeyboardInterrupt):
        work()
    assert seen == [signal.SIGTERM]
    assert handlers() == [signal.SIG_IGN] * 2


@pytest.mark.parametrize("number", BOTH)
def test_server_is_stopped_once_and_later_signals_are_ignored(number):
    stops = []
    with call_on_signal(lambda: stops.append(1)):
        signal.raise_signal(number)
        signal.raise_signal(number)
    signal.raise_signal(number)
    assert stops == [1]
    assert handlers() == [signal.SIG_IGN] * 2


class Interrupting:
    """Import finder that raises SIGINT when a given module is imported."""

    def __init__(self, module):
        self.module = module

    def find_spec(self, name, path=None, target=None):
        if name == self.module:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("module", ["lstm_ae_cli.errors", "lstm_ae_cli.app"])
def test_signal_during_import_exits_with_code_130(module, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(module), *sys.meta_path])
    assert main(["--version"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lstmae: Interrupted")
    assert len(err.splitlines()) == 1


def test_package_import_loads_no_large_module_before_signal_handling():
    large = {"typer", "lstm_ae", "lstm_ae_cli.app", "lstm_ae_cli.errors"}
    program = f"import sys, lstm_ae_cli; print({large} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=CEILING)
    assert done.stdout == "set()\n", done.stderr
