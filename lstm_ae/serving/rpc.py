"""TensorFlow Serving's gRPC interface: PredictionService, ModelService, and the standard health service."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from lstm_ae.serving.configs import models_of
from lstm_ae.serving.inference import CLASSIFY, REGRESS, infer, infer_many
from lstm_ae.serving.limiter import Limiter, client_of, peer_of
from lstm_ae.serving.protos import described, serialize_examples, to_array, to_classification, to_proto, to_regression
from lstm_ae.serving.refusals import Code, Refusal, invalid
from lstm_ae.serving.servable import DEFAULT, Servable, check_names
from lstm_ae.serving.service import Service

Reload = Callable[[Any], Awaitable[None]]


# The places of calls of the health service.
PROBES = 64
# Seconds after which a connection without calls is closed.
IDLE = 300


def grpc_server(
    service: Service, reload: Reload, connections: int = 1024, seconds: float = 10.0, *, content: bool = False
) -> grpc.aio.Server:
    """A server with all services, not yet bound to a port.

    Args:
        reload: takes the models of a new configuration and brings them into memory.
        connections: at the same time; further ones are closed.
        seconds: within which a connection must begin, and the message of a call must come.
        content: write the numbers of Predict's answers as bytes (`tensor_content`) instead of typed values.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", service.limits.body),
            ("grpc.max_send_message_length", -1),
            # Else a second server on the same port would take half of the requests.
            ("grpc.so_reuseport", 0),
            ("grpc.max_allowed_incoming_connections", connections),
            ("grpc.max_concurrent_streams", service.limiter.places),
            ("grpc.max_connection_idle_ms", 1000 * IDLE),
            ("grpc.server_handshake_timeout_ms", round(1000 * seconds)),
        ],
        interceptors=[_Guard(service, seconds)],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Prediction(service, content), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(service, reload), server)
    health_pb2_grpc.add_HealthServicer_to_server(_Health(service), server)
    return server


class _Guard(grpc.aio.ServerInterceptor):
    """Gives a call its place before its message has come, and limits how long that may take.

    gRPC reads the message of a call before any other code learns of it, and waits for it for ever. It leaves the
    reading of a stream of messages to the server; on the network both look alike.
    """

    def __init__(self, service: Service, seconds: float) -> None:
        self._service, self._seconds = service, seconds
        self._probes = Limiter(PROBES, slow=0.05)
        self._guarded: dict[str, Any] = {}

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """The handler of a method, guarded."""
        if details.method not in self._guarded:
            handler = await continuation(details)
            if handler is None or handler.unary_unary is None:
                return handler
            health = details.method.startswith("/grpc.health.")
            self._guarded[details.method] = self._guard(handler, self._probes if health else self._service.limiter)
        return self._guarded[details.method]

    def _guard(self, handler: Any, limiter: Limiter) -> Any:
        async def call(requests: Any, context: Any) -> Any:
            now, peer = asyncio.get_running_loop().time(), peer_of(context.peer())
            left = context.time_remaining()
            most = self._service.limits.seconds
            deadline = now + (most if left is None else min(left, most))
            with self._service.busy.during(peer):
                try:
                    async with limiter.enter(client_of(peer), deadline) as place:
                        begun = asyncio.get_running_loop().time()
                        request = await place.receive(_first(requests), min(deadline, begun + self._seconds))
                        return await handler.unary_unary(request, context)
                except Refusal as refusal:
                    await context.abort(_STATUSES[refusal.code], _ascii(refusal.message))

        return grpc.stream_unary_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)


async def _first(requests: Any) -> Any:
    async for request in requests:
        return request
    raise invalid("The call has no message")


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, service: Service, content: bool) -> None:
        self.service, self.content = service, content

    async def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._counted(request.model_spec.name, self._predict(request, context), context)

    async def _counted(self, model: str, work: Awaitable[Any], context: Any) -> Any:
        return await _or_refusal(self.service.counted("grpc", model, work), context)

    async def _predict(self, request: Any, context: Any) -> Any:
        self.service.admit()
        servable = _find(self.service, request.model_spec)
        signature = servable.signature(request.model_spec.signature_name)
        protos = {**servable.definitions[signature.name].defaults, **request.inputs}
        # Before any of them is laid out in memory.
        check_names(signature, protos)
        self.service.check(signature, {name: described(name, proto) for name, proto in protos.items()})
        most = self.service.limits.body
        inputs = {name: to_array(name, proto, most) for name, proto in protos.items()}
        for place, name in enumerate(request.output_filter):
            if name not in signature.outputs:
                raise invalid(
                    f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                    f"{{{','.join(sorted(signature.outputs))}}}."
                )
            if name in request.output_filter[:place]:
                raise invalid(f"duplicate output tensor alias: {name}")
        outputs = await self.service.predict(servable, signature, inputs, context.time_remaining())
        answer = predict_pb2.PredictResponse()
        _fill_spec(answer.model_spec, servable, signature.name)
        for name in request.output_filter or outputs:
            answer.outputs[name].CopyFrom(to_proto(outputs[name], content=self.content))
        return answer

    async def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802
        work = self._infer(request, CLASSIFY, classification_pb2.ClassificationResponse(), context)
        return await self._counted(request.model_spec.name, work, context)

    async def Regress(self, request: Any, context: Any) -> Any:  # noqa: N802
        work = self._infer(request, REGRESS, regression_pb2.RegressionResponse(), context)
        return await self._counted(request.model_spec.name, work, context)

    async def _infer(self, request: Any, method: str, answer: Any, context: Any) -> Any:
        self.service.admit()
        servable = _find(self.service, request.model_spec)
        name, examples = request.model_spec.signature_name, serialize_examples(request.input)
        found = await infer(self.service, servable, method, name, examples, context.time_remaining())
        answer.result.CopyFrom(_result(method, found))
        _fill_spec(answer.model_spec, servable, name)
        return answer

    async def MultiInference(self, request: Any, context: Any) -> Any:  # noqa: N802
        model = request.tasks[0].model_spec.name if request.tasks else ""
        return await self._counted(model, self._infer_many(request, context), context)

    async def _infer_many(self, request: Any, context: Any) -> Any:
        self.service.admit()
        if not request.tasks:
            raise invalid("Inference request has no tasks")
        servable = _find(self.service, request.tasks[0].model_spec)
        if any(not task.model_spec.name for task in request.tasks):
            raise invalid("Found ModelSpec with an empty model name.")
        if len({task.model_spec.name for task in request.tasks}) > 1:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        tasks = [(task.model_spec.signature_name, task.method_name) for task in request.tasks]
        found = await infer_many(
            self.service, servable, tasks, serialize_examples(request.input), context.time_remaining()
        )
        answer = inference_pb2.MultiInferenceResponse()
        for (name, method), one in zip(tasks, found, strict=True):
            result = answer.results.add()
            kind = result.classification_result if method == CLASSIFY else result.regression_result
            kind.CopyFrom(_result(method, one))
            _fill_spec(result.model_spec, servable, name)
        return answer

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _or_refusal(self._metadata(request), context)

    async def _metadata(self, request: Any) -> Any:
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        servable = _find(self.service, request.model_spec)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name = servable.name
        answer.model_spec.version.value = servable.version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in servable.definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        answer.metadata["signature_def"].Pack(signatures)
        return answer


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, service: Service, reload: Reload) -> None:
        self.service, self.reload = service, reload

    async def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _or_refusal(self._status(request), context)

    async def _status(self, request: Any) -> Any:
        name, version, label = _which(request.model_spec)
        answer = get_model_status_pb2.GetModelStatusResponse()
        for status in self.service.catalogue.statuses(name, version, label):
            row = answer.model_version_status.add(version=status.version, state=status.state)
            row.status.error_code = Code.UNKNOWN if status.error else 0
            row.status.error_message = status.error
        return answer

    async def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = model_management_pb2.ReloadConfigResponse()
        try:
            await self.reload(models_of(request.config))
        except Refusal as refusal:
            # As TensorFlow Serving, which says it in both places.
            answer.status.error_code, answer.status.error_message = refusal.code, refusal.message
            context.set_code(_STATUSES[refusal.code])
            context.set_details(_ascii(refusal.message))
        return answer


class _Health(health_pb2_grpc.HealthServicer):
    def __init__(self, service: Service) -> None:
        self.service = service

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.service not in ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no service {request.service}")
        kinds = health_pb2.HealthCheckResponse.ServingStatus
        return health_pb2.HealthCheckResponse(status=kinds.SERVING if self.service.ready() else kinds.NOT_SERVING)


async def _or_refusal(work: Awaitable[Any], context: Any) -> Any:
    try:
        return await work
    except Refusal as refusal:
        await context.abort(_STATUSES[refusal.code], _ascii(refusal.message))


def _result(method: str, found: Any) -> Any:
    return to_classification(*found) if method == CLASSIFY else to_regression(found)


def _fill_spec(spec: Any, servable: Servable, signature: str) -> None:
    """Fill in the model, version and signature that gave an answer."""
    spec.name, spec.version.value, spec.signature_name = servable.name, servable.version, signature or DEFAULT


def _ascii(message: str) -> str:
    return message.encode("ascii", "backslashreplace").decode()


_STATUSES = {code: getattr(grpc.StatusCode, code.name) for code in Code}


def _which(spec: Any) -> tuple[str, int | None, str | None]:
    """Name, version and label of what is asked for."""
    if not spec.name:
        raise invalid("Missing ModelSpec" if not spec.ByteSize() else "ModelSpec has no name specified.")
    chosen = spec.WhichOneof("version_choice")
    if chosen == "version_label":
        return spec.name, None, spec.version_label
    if chosen == "version" and spec.version.value < 0:
        raise Refusal(Code.NOT_FOUND, f"Servable not found for request: Specific({spec.name}, {spec.version.value})")
    return spec.name, spec.version.value if chosen == "version" else None, None


def _find(service: Service, spec: Any) -> Any:
    return service.catalogue.find(*_which(spec))
