"""`lstmae serve`: exported models over REST and gRPC."""

import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lstm_ae.formatting import format_count
from lstm_ae.serving.config import ServerConfig

from .backend import import_tensorflow
from .console import Console, JsonFormatter, log_to_stderr
from .options import GivenOptions, Trust, command
from .signals import call_on_signal

if TYPE_CHECKING:
    from lstm_ae.serving.config import Ports


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "serve", "lstmae serve saved_models", config=ServerConfig)
    def serve(
        given: GivenOptions,
        folder: Annotated[Path, typer.Argument(help="A folder of exported models, or one model's folder.")],
        *,
        trust: Trust = False,
        console: Console,
    ) -> None:
        """Serve exported models over REST and gRPC, compatible with TensorFlow Serving."""
        began = time.monotonic()
        from lstm_ae.errors import Code, DataError, require_extra
        from lstm_ae.serving.model_folders import find_models, parse_policy

        if not folder.is_dir():
            raise DataError(
                f"There is no folder {str(folder)!r}. Pass a folder that `lstmae export` has written",
                code=Code.MODEL_NOT_FOUND,
            )
        config = ServerConfig(**given)
        policy = parse_policy(config.versions)
        names = [name for name, versions in find_models(folder, policy).items() if versions]
        if not names:
            raise DataError(
                f"{str(folder)!r} contains no exported model (NAME/<number>/saved_model.pb) with the versions "
                f"{config.versions}. Create one with lstmae export, or choose --versions that exist.",
                code=Code.MODEL_NOT_FOUND,
            )
        import_tensorflow(console, keras=False)
        with require_extra("lstmae serve", "serve"):
            from lstm_ae.serving import loading, server

        load = loading.make_loader(trust=trust)

        async def serving() -> None:
            loop, stop = asyncio.get_running_loop(), asyncio.Event()
            with call_on_signal(lambda: loop.call_soon_threadsafe(stop.set)):
                await server.serve(
                    lambda: find_models(folder, policy),
                    load,
                    config,
                    listening=lambda ports, service: _show_ports(
                        ports, names, service.catalog, console, time.monotonic() - began
                    ),
                    stop=stop,
                )
                # Threads of granian that are about to end may abort a process whose interpreter is finalized, and a
                # call of a model that is still running would delay the end although no client waits for its answer.
                logging.shutdown()
                sys.stdout.flush()
                os._exit(0)

        import asyncio

        log_to_stderr(JsonFormatter(), logging.WARNING if console.quiet else logging.INFO)
        asyncio.run(serving())


def _show_ports(ports: "Ports", names: list[str], catalog: Any, console: Console, seconds: float) -> None:
    """Show the addresses of the server and its models, and which models are still loading."""
    from lstm_ae.serving.ports import bracket_host

    host = bracket_host(ports.host)
    console.show(f"REST  http://{host}:{ports.rest}/v1/models/{names[0]}")
    console.show(f"page  http://{host}:{ports.rest}/")
    console.show(f"gRPC  {host}:{ports.grpc}")
    console.show(f"{format_count(len(names), 'model')}: {', '.join(names)}")
    console.document(ports._asdict() | {"models": names})
    sys.stdout.flush()
    console.say(f"listening after {seconds:.1f} s; Ctrl-C ends")
    if unloaded := [name for name in names if not catalog.serves(name)]:
        console.say(f"still loading: {', '.join(unloaded)}")
        console.say(f"http://{host}:{ports.rest}/ready responds with 200 when all models are loaded")
