"""What a request is refused with: a status code of gRPC, its HTTP status, and a sentence."""

import enum
from typing import Any


class StatusCode(enum.IntEnum):
    """Status codes, numbered as gRPC and TensorFlow number them."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def http(self) -> int:
        """The HTTP status that TensorFlow Serving answers with."""
        return _HTTP_STATUS.get(self, 500)


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

# Longer messages repeat what the client has sent.
MAX_MESSAGE_LENGTH = 1000


class Refusal(Exception):
    """A request that gets no answer, and why.

    Args:
        code: the status.
        message: for the client; made one line of a thousand characters at most.
        http: an HTTP status other than the code's, where HTTP has a word of its own (413, 415).
    """

    def __init__(self, code: StatusCode, message: str, *, http: int | None = None) -> None:
        self.code = code
        message = " ".join(message[: 2 * MAX_MESSAGE_LENGTH].splitlines())
        self.message = message if len(message) <= MAX_MESSAGE_LENGTH else message[: MAX_MESSAGE_LENGTH - 4] + " ..."
        self.http = http or code.http
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is pickled by the arguments of its base, which are not ours.
        return _refusal, (self.code, self.message, self.http)


def _refusal(code: StatusCode, message: str, http: int) -> Refusal:
    return Refusal(code, message, http=http)


def limit_instances(count: int, most: int) -> None:
    """Refuse a request of more rows or examples than the limit."""
    if count > most:
        raise invalid_argument(f"At most {most} instances a request. Received: {count}")


def invalid_argument(message: str) -> Refusal:
    """The refusal of a request that no state of the server would make right."""
    return Refusal(StatusCode.INVALID_ARGUMENT, message)
