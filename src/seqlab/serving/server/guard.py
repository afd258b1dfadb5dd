"""What stands before every request: the key, the size of the body, and the count of answers.

Without a key, a page of another site could have its own name point to this machine, and so read what the server answers to the
browser (DNS rebinding); it is answered only under names of this machine.
"""

import asyncio
import hmac
from typing import Any

from starlette.responses import JSONResponse

from seqlab.serving.server.address import is_own_address
from seqlab.serving.server.metrics import ServerMetrics

BODY_SECONDS = 30  # in which a request must have come
OPEN_PATHS = ("/", "/health")  # without a key
COUNTED_PATHS = (*OPEN_PATHS, "/metrics", "/v1/models", "/v1/completions", "/v1/chat/completions")


def error_response(
    status: int, message: str, kind: str = "invalid_request_error", code: str | None = None, headers: Any = None
) -> JSONResponse:
    """An error as OpenAI's clients read it."""
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": code}}, status, headers)


class Guard:
    """ASGI middleware that refuses requests without the key, and bodies that are too large."""

    def __init__(self, app: Any, key: str | None, max_bytes: int, metrics: ServerMetrics) -> None:
        self.app, self.key, self.max_bytes, self.metrics = app, key, max_bytes, metrics

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in COUNTED_PATHS else "other"
                self.metrics.requests.labels(path, str(message["status"])).inc()
            await send(message)

        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        if not self.key and not is_own_address(headers.get("host", b"").decode("latin-1")):
            text = "This server answers those who call it by an address of this machine, such as 127.0.0.1."
            await error_response(403, text)(scope, receive, send_counted)
            return
        if self.key and scope["path"] not in OPEN_PATHS and not self.is_key(headers.get("authorization", b"")):
            text = "The key is missing or wrong: send it as Authorization: Bearer <key>."
            await error_response(401, text, code="invalid_api_key")(scope, receive, send_counted)
            return
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self.read_body(receive)
        except TimeoutError:
            await error_response(408, "The request did not come to its end: send all of it.")(
                scope, receive, send_counted
            )
            return
        if len(body) > self.max_bytes:
            text = f"The request is larger than {self.max_bytes:,} bytes: send less."
            await error_response(413, text)(scope, receive, send_counted)
            return
        read = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> Any:
            return read.pop() if read else await receive()

        await self.app(scope, receive_again, send_counted)

    async def read_body(self, receive: Any) -> bytes:
        """The body of a request, or enough of it to see that it is too large."""
        body, is_open = b"", True
        while is_open and len(body) <= self.max_bytes:
            message = await receive()
            body += message.get("body", b"")
            is_open = message.get("more_body", False)
        return body

    def is_key(self, authorization: bytes) -> bool:
        """True for the right key; it takes as long for a wrong one."""
        scheme, _, key = authorization.partition(b" ")
        return hmac.compare_digest(key, (self.key or "").encode()) and scheme.lower() == b"bearer"
