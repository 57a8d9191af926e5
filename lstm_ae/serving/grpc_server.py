"""TensorFlow Serving's gRPC interface: PredictionService, ModelService, and the standard health service."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.apis.model_pb2 import ModelSpec

from lstm_ae.serving.connections import client_key
from lstm_ae.serving.errors import Refusal, StatusCode, invalid_argument, unknown_label
from lstm_ae.serving.limiter import RequestLimiter
from lstm_ae.serving.proto_codec import (
    array_to_proto,
    count_bytes,
    read_tensor_header,
    to_arrays,
)
from lstm_ae.serving.request_handler import RequestHandler
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.signatures import check_names
from lstm_ae.serving.threads import call_in_thread

# Health checks have their own slots, so that they work under full load.
HEALTH_SLOTS = 64

# A connection without calls is closed after this many seconds.
IDLE_SECONDS = 300


def make_grpc_server(handler: RequestHandler, connections: int) -> grpc.aio.Server:
    """Return a server with all services that is not yet bound to a port.

    Args:
        handler: The handler of the requests.
        connections: The connection limit; further connections are closed.
    """
    logging.getLogger("grpc._cython.cygrpc").addFilter(_keep_record)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", handler.config.max_body),
            ("grpc.max_send_message_length", -1),
            # Otherwise a second server on the same port would receive half of the requests.
            ("grpc.so_reuseport", 0),
            ("grpc.max_allowed_incoming_connections", connections),
            ("grpc.max_concurrent_streams", handler.limiter.slots),
            ("grpc.max_connection_idle_ms", 1000 * IDLE_SECONDS),
            ("grpc.server_handshake_timeout_ms", round(1000 * handler.config.header_timeout)),
        ],
        interceptors=[_RequestInterceptor(handler)],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_PredictionService(handler), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(handler), server)
    health_pb2_grpc.add_HealthServicer_to_server(_HealthService(handler), server)
    return server


def _keep_record(record: logging.LogRecord) -> bool:
    """Return whether to log a record.

    gRPC logs a response that could not be sent as an error, which happens when the deadlines of the client and the
    server pass at the same moment.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, grpc.aio.InternalError)


class _RequestInterceptor(grpc.aio.ServerInterceptor):
    """An interceptor that gives a call its slot before its message arrives, and limits the time until then.

    gRPC reads the message of a call before it calls any other code, and waits for it indefinitely. It leaves the
    reading of a message stream to the server, and both are the same on the network.
    """

    def __init__(self, handler: RequestHandler) -> None:
        self._handler = handler
        self._probes = RequestLimiter(HEALTH_SLOTS, slow=0.05)
        self._guarded: dict[str, grpc.RpcMethodHandler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Return the handler of a method, with the time limit."""
        if details.method not in self._guarded:
            method = await continuation(details)
            if method is None or method.unary_unary is None:
                return method
            health = details.method.startswith("/grpc.health.")
            self._guarded[details.method] = self._guard(method, self._probes if health else self._handler.limiter)
        return self._guarded[details.method]

    def _guard(self, method: grpc.RpcMethodHandler, limiter: RequestLimiter) -> grpc.RpcMethodHandler:
        kind: type[Message] = method.request_deserializer.__self__

        async def call(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> Message:
            now, client = asyncio.get_running_loop().time(), client_key(context.peer())
            remaining = context.time_remaining()
            config = self._handler.config
            deadline = now + (config.timeout if remaining is None else min(remaining, config.timeout))
            try:
                async with limiter.enter(client, deadline) as slot:
                    start = asyncio.get_running_loop().time()
                    end = min(deadline, start + config.header_timeout)
                    content = await slot.receive(_first_message(requests), end)
                    request = _parse_request(kind, content)
                    return await method.unary_unary(request, context)
            except Refusal as refusal:
                await context.abort(refusal.code, _escape_ascii(refusal.message))
            except NotImplementedError:
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, "This method is not supported.")

        # Without a deserializer, a message arrives as bytes; gRPC would parse it in the event loop.
        return grpc.stream_unary_rpc_method_handler(call, None, method.response_serializer)


async def _first_message(requests: AsyncIterator[bytes]) -> bytes:
    async for request in requests:
        return request
    raise invalid_argument("The call has no message")


def _parse_request(kind: type[Message], content: bytes) -> Message:
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise invalid_argument(f"The message is not a {kind.DESCRIPTOR.name}: {error}") from None


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, handler: RequestHandler) -> None:
        self.handler = handler

    async def Predict(  # noqa: N802
        self, request: predict_pb2.PredictRequest, context: grpc.aio.ServicerContext
    ) -> predict_pb2.PredictResponse:
        return await self.handler.record("grpc", request.model_spec.name, self._predict(request, context))

    async def _predict(
        self, request: predict_pb2.PredictRequest, context: grpc.aio.ServicerContext
    ) -> predict_pb2.PredictResponse:
        self.handler.admit()
        servable = _find_servable(self.handler, request.model_spec)
        signature = servable.signature(request.model_spec.signature_name)
        if len(request.inputs) > len(signature.inputs):
            check_names(signature, request.inputs)
        protos = {**servable.definitions[signature.name].defaults, **request.inputs}
        check_names(signature, protos)
        headers = {name: read_tensor_header(name, proto) for name, proto in protos.items()}
        # The limits are checked before any array is allocated.
        self.handler.check(signature, headers)
        inputs = await call_in_thread(count_bytes(headers), to_arrays, protos, self.handler.config.max_body)
        for index, name in enumerate(request.output_filter):
            if name not in signature.outputs:
                raise invalid_argument(
                    f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                    f"{{{','.join(sorted(signature.outputs))}}}."
                )
            if name in request.output_filter[:index]:
                raise invalid_argument(f"duplicate output tensor alias: {name}")
        outputs = await self.handler.predict(servable, signature, inputs, context.time_remaining())
        response = predict_pb2.PredictResponse()
        response.model_spec.name, response.model_spec.signature_name = servable.name, signature.name
        response.model_spec.version.value = servable.version
        for name in request.output_filter or outputs:
            proto = await call_in_thread(outputs[name].nbytes, array_to_proto, outputs[name])
            response.outputs[name].CopyFrom(proto)
        return response

    async def GetModelMetadata(  # noqa: N802
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.aio.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid_argument(f"Metadata field {field} is not supported")
        servable = _find_servable(self.handler, request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in servable.definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        response.metadata["signature_def"].Pack(signatures)
        return response


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, handler: RequestHandler) -> None:
        self.handler = handler

    async def GetModelStatus(  # noqa: N802
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.aio.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        response = get_model_status_pb2.GetModelStatusResponse()
        for status in self.handler.catalog.statuses(*_parse_model_spec(request.model_spec)):
            row = response.model_version_status.add(version=status.version, state=status.state)
            row.status.error_code = StatusCode.UNKNOWN.value[0] if status.error else 0
            row.status.error_message = status.error
        return response


class _HealthService(health_pb2_grpc.HealthServicer):
    def __init__(self, handler: RequestHandler) -> None:
        self.handler = handler

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no service {request.service}")
        kinds = health_pb2.HealthCheckResponse.ServingStatus
        return health_pb2.HealthCheckResponse(status=kinds.SERVING if self.handler.ready() else kinds.NOT_SERVING)


def _escape_ascii(message: str) -> str:
    return message.encode("ascii", "backslashreplace").decode()


def _parse_model_spec(spec: ModelSpec) -> tuple[str, int | None]:
    """Return the name and the version in a model spec."""
    if not spec.name:
        raise invalid_argument("Missing ModelSpec" if not spec.ByteSize() else "ModelSpec has no name specified.")
    choice = spec.WhichOneof("version_choice")
    if choice == "version_label":
        raise unknown_label(spec.version_label)
    if choice == "version" and spec.version.value < 0:
        raise Refusal(
            StatusCode.NOT_FOUND, f"Servable not found for request: Specific({spec.name}, {spec.version.value})"
        )
    return spec.name, spec.version.value if choice == "version" else None


def _find_servable(handler: RequestHandler, spec: ModelSpec) -> Servable:
    return handler.catalog.find(*_parse_model_spec(spec))
