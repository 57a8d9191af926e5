"""TensorFlow Serving's gRPC interface: PredictionService, ModelService, and the standard health service."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
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
from tensorflow_serving.apis.classification_pb2 import ClassificationResult
from tensorflow_serving.apis.regression_pb2 import RegressionResult

from lstm_ae.arrays import Array
from lstm_ae.export.warmup import encode_field
from lstm_ae.serving.errors import Refusal, StatusCode, invalid_argument
from lstm_ae.serving.inference import CLASSIFY, REGRESS, SentExamples, infer, infer_many
from lstm_ae.serving.json_codec import Features
from lstm_ae.serving.json_values import MAX_DIMENSIONS
from lstm_ae.serving.json_workers import call_in_thread
from lstm_ae.serving.limiter import RequestLimiter, client_key, normalize_peer
from lstm_ae.serving.models_config import parse_models
from lstm_ae.serving.servable import Servable
from lstm_ae.serving.service import Service
from lstm_ae.serving.signatures import DEFAULT_SIGNATURE, SentTensor, check_names
from lstm_ae.serving.tensors import Tensors

# Each dtype has its own field for typed values.
_VALUE_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}

# The number of cells is limited, because a message of a few bytes can request any number of copies of its last value.
MAX_CELLS = 2**25


def read_tensor_header(name: str, proto: TensorProto) -> SentTensor:
    """Return the dtype and shape of a tensor message.

    Raises:
        Refusal: If no array here can have this dtype or shape.
    """
    if proto.dtype not in _VALUE_FIELDS:
        known = proto.dtype in types_pb2.DataType.values() and proto.dtype != types_pb2.DT_INVALID
        which = f"a dtype that is not served: {types_pb2.DataType.Name(proto.dtype)}" if known else "no dtype"
        raise invalid_argument(f"Input {name!r} has {which}")
    # This check comes first, because the product of many sizes and their text take long to compute.
    if len(proto.tensor_shape.dim) > MAX_DIMENSIONS:
        raise _too_large(name)
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise invalid_argument(f"Input {name!r} must have a shape of whole numbers from 0 up. Received: {list(shape)}")
    if max(shape, default=0) > MAX_CELLS:
        raise _too_large(name)
    cells = math.prod(shape)
    if cells > MAX_CELLS:
        raise invalid_argument(f"Input {name!r} may have at most {MAX_CELLS} values. Its shape says: {cells}")
    return SentTensor(np.dtype(tf.dtypes.as_dtype(proto.dtype).as_numpy_dtype), shape)


def _too_large(name: str) -> Refusal:
    return invalid_argument(f"Input {name!r} has more dimensions, or a longer one, than any model takes")


def proto_to_array(name: str, proto: TensorProto, most: int | None = None) -> Array:
    """Convert a tensor message to an array.

    Args:
        name: The name of the input.
        proto: The message.
        most: The largest size in bytes of an array whose last value is repeated; None for any size.

    Raises:
        Refusal: If the number of values does not fit the shape.
    """
    dtype, shape = read_tensor_header(name, proto)
    key, cells = _VALUE_FIELDS[proto.dtype], math.prod(shape)
    if proto.tensor_content and dtype.kind != "O":
        if len(proto.tensor_content) != cells * dtype.itemsize:
            raise invalid_argument(
                f"Input {name!r} must have {cells * dtype.itemsize} bytes of tensor_content for its shape and dtype. "
                f"Received: {len(proto.tensor_content)}"
            )
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = getattr(proto, key)
    # As in TensorFlow, the last value is repeated to the end; without values all cells are zero or empty.
    if len(values) > cells:
        raise invalid_argument(
            f"Input {name!r} must have {cells} values in {key} for its shape. Received: {len(values)}"
        )
    if most is not None and len(values) < cells:
        size = cells * (max(1, len(values[-1]) if values else 0) if dtype.kind == "O" else dtype.itemsize)
        if size > most:
            raise invalid_argument(
                f"Input {name!r} may repeat its last value up to {most} bytes. Its shape says: {size}"
            )
    return _fill_array(values, dtype, cells).reshape(shape)


def to_arrays(protos: Mapping[str, TensorProto], most: int) -> Tensors:
    """Convert messages to arrays by name; see `proto_to_array`."""
    return {name: proto_to_array(name, proto, most) for name, proto in protos.items()}


def _size(sent: Mapping[str, SentTensor]) -> int:
    """Return the size in bytes of tensors that are not yet allocated."""
    return sum(math.prod(tensor.shape) * tensor.dtype.itemsize for tensor in sent.values())


def _fill_array(values: Sequence[Any], dtype: np.dtype[Any], cells: int) -> Array:
    array = np.empty(cells, dtype)
    with np.errstate(over="ignore"):
        array[: len(values)] = np.asarray(values, dtype if dtype.kind == "O" else None).astype(dtype)
    array[len(values) :] = values[-1] if len(values) else b"" if dtype.kind == "O" else 0
    return array


def array_to_proto(array: Array, *, content: bool = False) -> TensorProto:
    """Convert an array to a message.

    Args:
        array: The array.
        content: Whether to write numbers to `tensor_content` as bytes instead of to the field of their type
            (`float_val`, ...).
    """
    number = tf.dtypes.as_dtype(array.dtype).as_datatype_enum
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in array.shape])
    proto = TensorProto(dtype=number, tensor_shape=shape)
    key = _VALUE_FIELDS[number]
    if content and array.dtype.kind != "O":
        proto.tensor_content = array.tobytes()
    elif array.dtype.kind == "f":
        # A packed field of floats has the layout of the array; appending values one by one takes 200 times as long.
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        proto.MergeFromString(encode_field(TensorProto.DESCRIPTOR.fields_by_name[key].number, little.tobytes()))
    else:
        getattr(proto, key).extend(array.ravel().tolist())
    return proto


def serialize_example(features: Features) -> bytes:
    """Serialize features as a `tf.Example`."""
    example = Example()
    for name, values in features.items():
        feature = example.features.feature[name]
        if values is None:
            continue
        kind = {"O": feature.bytes_list, "f": feature.float_list, "i": feature.int64_list}[values.dtype.kind]
        kind.value.extend(values.tolist())
    return bytes(example.SerializeToString())


def sent_examples(given: Any) -> SentExamples:
    """Return the examples of an `Input` message."""
    shared = given.WhichOneof("kind") == "example_list_with_context"
    listed = given.example_list_with_context if shared else given.example_list

    def serialize() -> tuple[bytes, list[bytes]]:
        context = listed.context.SerializeToString() if shared else b""
        return context, [example.SerializeToString() for example in listed.examples]

    return SentExamples(len(listed.examples), serialize)


def to_classification(labels: Array, scores: Array) -> ClassificationResult:
    """Convert labels and scores, both `(examples, classes)`, to a message."""
    result = ClassificationResult()
    for row in zip(labels.tolist(), scores.tolist(), strict=True):
        classes = result.classifications.add().classes
        for label, score in zip(*row, strict=True):
            classes.add(label=label, score=score)
    return result


def to_regression(values: Array) -> RegressionResult:
    """Convert values, one per example, to a message."""
    result = RegressionResult()
    for value in values.tolist():
        result.regressions.add(value=value)
    return result


Reload = Callable[[Any], Awaitable[None]]


# Health checks have their own slots, so that they work under full load.
HEALTH_SLOTS = 64

# A connection without calls is closed after this many seconds.
IDLE_SECONDS = 300


def make_grpc_server(
    service: Service, reload: Reload, connections: int = 1024, seconds: float = 10.0, *, content: bool = False
) -> grpc.aio.Server:
    """Return a server with all services that is not yet bound to a port.

    Args:
        service: The service that answers requests.
        reload: Function that loads the models of a new configuration.
        connections: The connection limit; further connections are closed.
        seconds: The time limit for the handshake of a connection, and for receiving the message of a call.
        content: Whether Predict responses contain numbers as bytes (`tensor_content`) instead of typed values.
    """
    logging.getLogger("grpc._cython.cygrpc").addFilter(_keep_record)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", service.limits.body),
            ("grpc.max_send_message_length", -1),
            # Otherwise a second server on the same port would receive half of the requests.
            ("grpc.so_reuseport", 0),
            ("grpc.max_allowed_incoming_connections", connections),
            ("grpc.max_concurrent_streams", service.limiter.places),
            ("grpc.max_connection_idle_ms", 1000 * IDLE_SECONDS),
            ("grpc.server_handshake_timeout_ms", round(1000 * seconds)),
        ],
        interceptors=[_RequestInterceptor(service, seconds)],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_PredictionService(service, content), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(service, reload), server)
    health_pb2_grpc.add_HealthServicer_to_server(_HealthService(service), server)
    return server


def _keep_record(record: logging.LogRecord) -> bool:
    """Return False for a response that could not be sent.

    gRPC logs it as an error where the client's deadline passes at the same moment as the server's.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, grpc.aio.InternalError)


class _RequestInterceptor(grpc.aio.ServerInterceptor):
    """An interceptor that gives a call its slot before its message arrives, and limits the time until then.

    gRPC reads the message of a call before it calls any other code, and waits for it indefinitely. It leaves the
    reading of a message stream to the server, and both are the same on the network.
    """

    def __init__(self, service: Service, seconds: float) -> None:
        self._service, self._seconds = service, seconds
        self._probes = RequestLimiter(HEALTH_SLOTS, slow=0.05)
        self._guarded: dict[str, Any] = {}

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Return the handler of a method with the time limit."""
        if details.method not in self._guarded:
            handler = await continuation(details)
            if handler is None or handler.unary_unary is None:
                return handler
            health = details.method.startswith("/grpc.health.")
            self._guarded[details.method] = self._guard(handler, self._probes if health else self._service.limiter)
        return self._guarded[details.method]

    def _guard(self, handler: Any, limiter: RequestLimiter) -> Any:
        async def call(requests: Any, context: Any) -> Any:
            now, peer = asyncio.get_running_loop().time(), normalize_peer(context.peer())
            left = context.time_remaining()
            most = self._service.limits.seconds
            deadline = now + (most if left is None else min(left, most))
            with self._service.busy.during(peer):
                try:
                    async with limiter.enter(client_key(peer), deadline) as place:
                        begun = asyncio.get_running_loop().time()
                        request = await place.receive(_first_message(requests), min(deadline, begun + self._seconds))
                        return await handler.unary_unary(request, context)
                except Refusal as refusal:
                    await context.abort(_STATUSES[refusal.code], _escape_ascii(refusal.message))

        return grpc.stream_unary_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)


async def _first_message(requests: Any) -> Any:
    async for request in requests:
        return request
    raise invalid_argument("The call has no message")


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, service: Service, content: bool) -> None:
        self.service, self.content = service, content

    async def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._counted(request.model_spec.name, self._predict(request, context), context)

    async def _counted(self, model: str, work: Awaitable[Any], context: Any) -> Any:
        return await _abort_on_refusal(self.service.counted("grpc", model, work), context)

    async def _predict(self, request: Any, context: Any) -> Any:
        self.service.admit()
        servable = _find_servable(self.service, request.model_spec)
        signature = servable.signature(request.model_spec.signature_name)
        if len(request.inputs) > len(signature.inputs):
            check_names(signature, request.inputs)
        protos = {**servable.definitions[signature.name].defaults, **request.inputs}
        check_names(signature, protos)
        sent = {name: read_tensor_header(name, proto) for name, proto in protos.items()}
        # The limits are checked before any array is allocated.
        self.service.check(signature, sent)
        inputs = await call_in_thread(_size(sent), to_arrays, protos, self.service.limits.body)
        for place, name in enumerate(request.output_filter):
            if name not in signature.outputs:
                raise invalid_argument(
                    f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                    f"{{{','.join(sorted(signature.outputs))}}}."
                )
            if name in request.output_filter[:place]:
                raise invalid_argument(f"duplicate output tensor alias: {name}")
        outputs = await self.service.predict(servable, signature, inputs, context.time_remaining())
        answer = predict_pb2.PredictResponse()
        _fill_spec(answer.model_spec, servable, signature.name)
        for name in request.output_filter or outputs:
            made = await call_in_thread(outputs[name].nbytes, array_to_proto, outputs[name], content=self.content)
            answer.outputs[name].CopyFrom(made)
        return answer

    async def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802
        work = self._infer(request, CLASSIFY, classification_pb2.ClassificationResponse(), context)
        return await self._counted(request.model_spec.name, work, context)

    async def Regress(self, request: Any, context: Any) -> Any:  # noqa: N802
        work = self._infer(request, REGRESS, regression_pb2.RegressionResponse(), context)
        return await self._counted(request.model_spec.name, work, context)

    async def _infer(self, request: Any, method: str, answer: Any, context: Any) -> Any:
        self.service.admit()
        servable = _find_servable(self.service, request.model_spec)
        name, examples = request.model_spec.signature_name, sent_examples(request.input)
        found = await infer(self.service, servable, method, name, examples, context.time_remaining())
        await _fill_result(answer.result, method, found)
        _fill_spec(answer.model_spec, servable, name)
        return answer

    async def MultiInference(self, request: Any, context: Any) -> Any:  # noqa: N802
        model = request.tasks[0].model_spec.name if request.tasks else ""
        return await self._counted(model, self._infer_many(request, context), context)

    async def _infer_many(self, request: Any, context: Any) -> Any:
        self.service.admit()
        if not request.tasks:
            raise invalid_argument("Inference request has no tasks")
        servable = _find_servable(self.service, request.tasks[0].model_spec)
        # More tasks than signatures always contain a duplicate, so the first ones are enough to refuse the request.
        asked = request.tasks[: len(servable.signatures) + 1]
        if any(not task.model_spec.name for task in asked):
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if len({task.model_spec.name for task in asked}) > 1:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        tasks = [(task.model_spec.signature_name, task.method_name) for task in asked]
        found = await infer_many(self.service, servable, tasks, sent_examples(request.input), context.time_remaining())
        answer = inference_pb2.MultiInferenceResponse()
        for (name, method), one in zip(tasks, found, strict=True):
            result = answer.results.add()
            kind = result.classification_result if method == CLASSIFY else result.regression_result
            await _fill_result(kind, method, one)
            _fill_spec(result.model_spec, servable, name)
        return answer

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _abort_on_refusal(self._metadata(request), context)

    async def _metadata(self, request: Any) -> Any:
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for wanted in request.metadata_field:
            if wanted != "signature_def":
                raise invalid_argument(f"Metadata field {wanted} is not supported")
        servable = _find_servable(self.service, request.model_spec)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name = servable.name
        answer.model_spec.version.value = servable.version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in servable.definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        answer.metadata["signature_def"].Pack(signatures)
        return answer


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, service: Service, reload: Reload) -> None:
        self.service, self.reload = service, reload

    async def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _abort_on_refusal(self._status(request), context)

    async def _status(self, request: Any) -> Any:
        name, version, label = _parse_model_spec(request.model_spec)
        answer = get_model_status_pb2.GetModelStatusResponse()
        for status in self.service.catalogue.statuses(name, version, label):
            row = answer.model_version_status.add(version=status.version, state=status.state)
            row.status.error_code = StatusCode.UNKNOWN if status.error else 0
            row.status.error_message = status.error
        return answer

    async def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = model_management_pb2.ReloadConfigResponse()
        try:
            await self.reload(parse_models(request.config))
        except Refusal as refusal:
            # TensorFlow Serving reports the error in both places.
            answer.status.error_code, answer.status.error_message = refusal.code, refusal.message
            context.set_code(_STATUSES[refusal.code])
            context.set_details(_escape_ascii(refusal.message))
        return answer


class _HealthService(health_pb2_grpc.HealthServicer):
    def __init__(self, service: Service) -> None:
        self.service = service

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.service not in ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no service {request.service}")
        kinds = health_pb2.HealthCheckResponse.ServingStatus
        return health_pb2.HealthCheckResponse(status=kinds.SERVING if self.service.ready() else kinds.NOT_SERVING)


async def _abort_on_refusal(work: Awaitable[Any], context: Any) -> Any:
    try:
        return await work
    except Refusal as refusal:
        await context.abort(_STATUSES[refusal.code], _escape_ascii(refusal.message))


async def _fill_result(result: Any, method: str, found: Any) -> None:
    if method == CLASSIFY:
        made = await call_in_thread(found.scores.nbytes, to_classification, *found)
    else:
        made = await call_in_thread(found.nbytes, to_regression, found)
    result.CopyFrom(made)


def _fill_spec(spec: Any, servable: Servable, signature: str) -> None:
    """Write the model, version, and signature of a response."""
    spec.name, spec.version.value, spec.signature_name = servable.name, servable.version, signature or DEFAULT_SIGNATURE


def _escape_ascii(message: str) -> str:
    return message.encode("ascii", "backslashreplace").decode()


_STATUSES = {code: getattr(grpc.StatusCode, code.name) for code in StatusCode}


def _parse_model_spec(spec: Any) -> tuple[str, int | None, str | None]:
    """Return the name, version, and label in a model spec."""
    if not spec.name:
        raise invalid_argument("Missing ModelSpec" if not spec.ByteSize() else "ModelSpec has no name specified.")
    chosen = spec.WhichOneof("version_choice")
    if chosen == "version_label":
        return spec.name, None, spec.version_label
    if chosen == "version" and spec.version.value < 0:
        raise Refusal(
            StatusCode.NOT_FOUND, f"Servable not found for request: Specific({spec.name}, {spec.version.value})"
        )
    return spec.name, spec.version.value if chosen == "version" else None, None


def _find_servable(service: Service, spec: Any) -> Any:
    return service.catalogue.find(*_parse_model_spec(spec))
