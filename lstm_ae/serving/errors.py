"""Refusals of requests: a gRPC status code, its HTTP status, and a message."""

from grpc import StatusCode as StatusCode

# HTTP statuses that TensorFlow Serving uses for the codes of gRPC; 500 for others.
_HTTP_STATUS = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.ABORTED: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.CANCELLED: 499,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}

# Longer messages consist mostly of the client's own data.
MAX_MESSAGE_LENGTH = 1000


class Refusal(Exception):
    """The refusal of a request.

    Args:
        code: The status code.
        message: The message for the client, reduced to one line of at most 1,000 characters.
        http: An HTTP status that is more specific than the code's (such as 413 or 415).
    """

    def __init__(self, code: StatusCode, message: str, *, http: int | None = None) -> None:
        self.code = code
        message = " ".join(message[: 2 * MAX_MESSAGE_LENGTH].splitlines())
        self.message = message if len(message) <= MAX_MESSAGE_LENGTH else message[: MAX_MESSAGE_LENGTH - 4] + " ..."
        self.http = http or _HTTP_STATUS.get(code, 500)
        super().__init__(self.message)


def invalid_argument(message: str) -> Refusal:
    """Return the refusal of an invalid request, which would fail in any state of the server."""
    return Refusal(StatusCode.INVALID_ARGUMENT, message)


def unknown_label(label: str) -> Refusal:
    """Return the refusal of a version label, of which this server has none."""
    return invalid_argument(f"Unrecognized servable version label: {label}")
