"""What a client is told when its request cannot be served: ClickHouse's code, name and HTTP status."""

import re

# ClickHouse's own table (exceptionCodeToHTTPStatus) and 307 for our limit on bodies; every other code is 500.
_STATUS_BY_CODES = {
    400: {6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72}
    | {117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676},
    401: {194},
    403: {192, 193, 512, 516},
    404: {46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511},
    408: {159},
    413: {229, 307},
    501: {48},
    503: {76, 209, 439},
}
_ENGINE_MESSAGE = re.compile(r"Code: (?P<code>\d+)\. (?P<rest>.*)", re.DOTALL)
_TRAILER = re.compile(r"\s*\(version [^()]*(?:\([^()]*\))?\)\s*$")


class ClickHouseFailure(Exception):  # noqa: N818  # an outcome on the wire, named as ClickHouse users know it
    """`message` already carries ClickHouse's symbolic name, as in `... (UNKNOWN_TABLE)`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        return next((status for status, codes in _STATUS_BY_CODES.items() if self.code in codes), 500)

    def body(self, version: str) -> str:
        return f"Code: {self.code}. DB::Exception: {self.message} (version {version})\n"


def failure_from_engine(message: str) -> ClickHouseFailure:
    """Translate the text of an engine error; text without a code is a logical error (49)."""
    found = _ENGINE_MESSAGE.search(message)
    if found is None:
        return ClickHouseFailure(49, f"{message.strip()} (LOGICAL_ERROR)")
    rest = found["rest"].strip().removeprefix("DB::Exception: ")
    return ClickHouseFailure(int(found["code"]), _TRAILER.sub("", rest))
