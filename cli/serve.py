"""`lstmae serve`: exported models over REST and gRPC."""

import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lstm_ae.formatting import format_count

from .backend import import_tensorflow
from .console import Console, JsonFormatter, log_to_stderr
from .options import Trust, command
from .signals import call_on_signal

if TYPE_CHECKING:
    from lstm_ae.serving.model_folders import VersionPolicy

_BATCHING_PANEL = "Batching"
_LIMITS_PANEL = "Limits"


def _number_option(
    help: str,
    panel: str | None = None,
    *,
    least: float = 0,
    most: float = 2**31 - 1,
    unit: str = "int",
    advanced: bool = False,
) -> Any:
    return typer.Option(metavar=f"<{unit}>", min=least, max=most, help=help, rich_help_panel=panel, hidden=advanced)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "serve", "lstmae serve saved_models")
    def serve(
        folder: Annotated[Path, typer.Argument(help="A folder of exported models, or one model's folder.")],
        *,
        host: Annotated[str, typer.Option(metavar="<address>", help="Address to listen at.")] = "127.0.0.1",
        allowed_host: Annotated[
            list[str] | None,
            typer.Option(
                metavar="<name>",
                help="Another name of this server, such as a proxy's; may be repeated.",
            ),
        ] = None,
        rest_port: Annotated[int, _number_option("Port of REST; 0 takes a free one.", most=65535)] = 8501,
        grpc_port: Annotated[int, _number_option("Port of gRPC; 0 takes a free one.", most=65535)] = 8500,
        no_grpc: Annotated[bool, typer.Option("--no-grpc", metavar="", help="Serve REST only.")] = False,
        enable_serialization_as_tensor_content: Annotated[
            bool,
            typer.Option(
                "--enable-serialization-as-tensor-content",
                metavar="",
                help="Send numbers over gRPC as bytes instead of typed values.",
                hidden=True,
            ),
        ] = False,
        no_page: Annotated[
            bool, typer.Option("--no-page", metavar="", help="Serve no page at / for browsers.", hidden=True)
        ] = False,
        versions: Annotated[
            str, typer.Option(metavar="latest|all|1,2", help="Versions of every model to serve.")
        ] = "latest",
        label: Annotated[
            list[str] | None,
            typer.Option(metavar="model:label=1", help="Label of a version of a model; may be repeated."),
        ] = None,
        poll: Annotated[
            float, _number_option("Seconds between checks for new versions.", least=0.05, unit="float", advanced=True)
        ] = 1.0,
        trust: Trust = False,
        engine: Annotated[
            str,
            typer.Option(
                metavar="tensorflow|numba",
                help="What computes models; numba is faster for networks of tables.",
                hidden=True,
            ),
        ] = "tensorflow",
        max_batch_size: Annotated[
            int, _number_option("Maximum number of samples per call; 1 for no batching.", _BATCHING_PANEL, least=1)
        ] = 64,
        batch_timeout_micros: Annotated[
            int, _number_option("Microseconds a request waits for others.", _BATCHING_PANEL, advanced=True)
        ] = 0,
        max_enqueued_batches: Annotated[
            int, _number_option("Maximum number of waiting batches.", _BATCHING_PANEL, least=1, advanced=True)
        ] = 100,
        num_batch_threads: Annotated[
            int, _number_option("Batches computed at the same time.", _BATCHING_PANEL, least=1, most=256, advanced=True)
        ] = 2,
        allowed_batch_sizes: Annotated[
            str,
            typer.Option(
                metavar="<a,b,...>", help="Sizes of batches, ascending.", rich_help_panel=_BATCHING_PANEL, hidden=True
            ),
        ] = "",
        max_body: Annotated[int, _number_option("Maximum bytes of a request.", _LIMITS_PANEL, least=1)] = 16 * 2**20,
        max_instances: Annotated[
            int, _number_option("Maximum rows of a request.", _LIMITS_PANEL, least=1, advanced=True)
        ] = 10_000,
        max_window: Annotated[
            int, _number_option("Maximum steps of a row.", _LIMITS_PANEL, least=1, advanced=True)
        ] = 100_000,
        max_horizon: Annotated[
            int, _number_option("Maximum steps of a forecast.", _LIMITS_PANEL, least=1, advanced=True)
        ] = 10_000,
        max_elements: Annotated[
            int,
            _number_option(
                "Maximum elements of a request's inputs, and of its outputs.", _LIMITS_PANEL, least=1, advanced=True
            ),
        ] = 1_000_000,
        max_concurrency: Annotated[
            int, _number_option("Requests at the same time; others wait.", _LIMITS_PANEL, least=1)
        ] = 256,
        max_concurrency_per_client: Annotated[
            int | None,
            _number_option(
                "Requests of one client at the same time (default: three quarters).",
                _LIMITS_PANEL,
                least=1,
                advanced=True,
            ),
        ] = None,
        timeout: Annotated[
            float, _number_option("Maximum seconds of a request.", _LIMITS_PANEL, least=0.001, unit="float")
        ] = 60.0,
        header_timeout: Annotated[
            float,
            _number_option(
                "Maximum seconds for headers, or the message of a gRPC call.",
                _LIMITS_PANEL,
                least=0.1,
                unit="float",
                advanced=True,
            ),
        ] = 10.0,
        load_timeout: Annotated[
            float,
            _number_option(
                "Maximum seconds to load and warm up a version.", _LIMITS_PANEL, least=0.1, unit="float", advanced=True
            ),
        ] = 300.0,
        drain: Annotated[float, _number_option("Seconds for a graceful shutdown.", _LIMITS_PANEL, unit="float")] = 20.0,
        grace: Annotated[
            float,
            _number_option(
                "Seconds of --drain in which the server still accepts requests.",
                _LIMITS_PANEL,
                unit="float",
                advanced=True,
            ),
        ] = 0.0,
        console: Console,
    ) -> None:
        """Serve exported models over REST and gRPC, compatible with TensorFlow Serving."""
        began = time.monotonic()
        from lstm_ae.errors import Code, ConfigError, DataError, require_extra

        if not folder.is_dir():
            raise DataError(
                f"There is no folder {str(folder)!r}. Pass a folder that `lstmae export` has written",
                code=Code.MODEL_NOT_FOUND,
            )
        if engine not in ("tensorflow", "numba"):
            raise ConfigError(f"--engine must be tensorflow or numba. Received: {engine!r}")
        if grace > drain:
            raise ConfigError(f"--grace must be at most --drain ({drain:g}). Received: {grace:g}")
        sizes = _parse_sizes(allowed_batch_sizes, max_batch_size)
        import_tensorflow(console, keras=False)
        with require_extra("lstmae serve", "serve"):
            from lstm_ae.serving import loading, server
            from lstm_ae.serving.config import BatchingConfig, Ports, RequestLimits, ServerConfig
            from lstm_ae.serving.model_folders import check_served_models, discover_models
            from lstm_ae.serving.ports import bracket_host

        policy, labels = _parse_policy(versions), [_parse_label(text) for text in label or ()]

        def wanted() -> Any:
            return discover_models(folder, policy, labels)

        models = [model for model in wanted() if model.sure]
        if not models:
            raise DataError(
                f"{str(folder)!r} contains no exported model (NAME/<number>/saved_model.pb). "
                "Create one with lstmae export.",
                code=Code.MODEL_NOT_FOUND,
            )
        names = [model.name for model in models]
        for name, *_ in labels:
            if name not in names:
                raise ConfigError(f"--label must begin with one of {', '.join(names)}. Received: {name!r}")
        check_served_models(models)
        config = ServerConfig(
            Ports(host, rest_port, None if no_grpc else grpc_port),
            BatchingConfig(max_batch_size, batch_timeout_micros / 1e6, max_enqueued_batches, num_batch_threads, sizes),
            RequestLimits(max_body, max_instances, max_window, max_horizon, max_elements, timeout),
            page=not no_page,
            poll=poll,
            concurrency=max_concurrency,
            per_client=max_concurrency_per_client or 0,
            header_seconds=header_timeout,
            drain_seconds=drain,
            grace_seconds=grace,
            hosts=tuple(allowed_host or ()),
            load_seconds=load_timeout,
            tensor_content=enable_serialization_as_tensor_content,
        )

        def listening(ports: Ports, service: Any) -> None:
            shown = bracket_host(ports.host)
            console.show(f"REST  http://{shown}:{ports.rest}/v1/models/{models[0].name}")
            if not no_page:
                console.show(f"page  http://{shown}:{ports.rest}/")
            if ports.grpc is not None:
                console.show(f"gRPC  {shown}:{ports.grpc}")
            console.show(f"{format_count(len(names), 'model')}: {', '.join(names)}")
            console.document(ports._asdict() | {"models": names})
            sys.stdout.flush()
            console.say(f"listening after {time.monotonic() - began:.1f} s; Ctrl-C ends")
            if coming := [name for name in names if not service.catalog.serves(name)]:
                console.say(f"still loading: {', '.join(coming)}")
                console.say(f"http://{shown}:{ports.rest}/ready responds with 200 when all models are loaded")

        load = loading.make_loader(trust=trust, engine=engine)

        async def serving() -> None:
            loop, stop = asyncio.get_running_loop(), asyncio.Event()
            with call_on_signal(lambda: loop.call_soon_threadsafe(stop.set)):
                await server.serve(wanted, load, config, listening=listening, stop=stop)
                # Threads of granian that are about to end may abort a process whose interpreter is finalized, and a
                # call of a model that is still running would delay the end although nobody waits for its answer.
                logging.shutdown()
                sys.stdout.flush()
                os._exit(0)

        import asyncio

        log_to_stderr(JsonFormatter(), logging.WARNING if console.quiet else logging.INFO)
        asyncio.run(serving())


def _parse_policy(text: str) -> "VersionPolicy":
    from lstm_ae.errors import ConfigError
    from lstm_ae.serving.model_folders import VersionPolicy

    if text in ("latest", "all"):
        return VersionPolicy(text)
    numbers = [item.strip() for item in text.split(",")]
    if not all(number.isascii() and number.isdecimal() and len(number) < 19 for number in numbers):
        raise ConfigError(f"--versions must be latest, all, or numbers separated by commas. Received: {text!r}")
    return VersionPolicy("specific", versions=tuple(map(int, numbers)))


def _parse_label(text: str) -> tuple[str, str, int]:
    from lstm_ae.errors import ConfigError

    model, colon, rest = text.partition(":")
    name, equals, number = rest.partition("=")
    if not (model and colon and name and equals and number.isascii() and number.isdecimal() and len(number) < 19):
        raise ConfigError(f"--label must be model:label=version, such as toy:stable=1. Received: {text!r}")
    return model, name, int(number)


def _parse_sizes(text: str, largest: int) -> tuple[int, ...]:
    from lstm_ae.errors import ConfigError

    if not text:
        return ()
    words = [item.strip() for item in text.split(",")]
    sizes = tuple(int(word) for word in words if word.isascii() and word.isdecimal() and len(word) < 10)
    if len(sizes) < len(words) or list(sizes) != sorted(set(sizes)) or sizes[-1] != largest or sizes[0] < 1:
        raise ConfigError(
            f"--allowed-batch-sizes must be ascending numbers, the last one --max-batch-size ({largest}). "
            f"Received: {text!r}"
        )
    return sizes
