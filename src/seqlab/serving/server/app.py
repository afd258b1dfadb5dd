"""The HTTP application: OpenAI's API over the workers of one or several runs."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.exceptions import HTTPException

from seqlab.errors import UserError
from seqlab.serving.chat import read_messages, start_answers
from seqlab.serving.completions import Piece
from seqlab.serving.engine import LoadedRun
from seqlab.serving.language import DRAWING_OPTIONS, check_ids, encode_text, start_completions
from seqlab.serving.server.guard import Guard, error_response
from seqlab.serving.server.metrics import ServerMetrics
from seqlab.serving.server.responses import Response
from seqlab.serving.server.schemas import ChatRequest, CompletionRequest, GenerationRequest
from seqlab.serving.server.worker import GenerationError, QueueFullError, Worker

NOT_JSON = "The body is not a JSON object with the keys of this request: send one, as application/json."
PAGE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Limits:
    """What the server takes at most."""

    rows: int = 16  # texts that are continued at once
    waiting: int = 64  # texts that wait
    new_tokens: int = 1024  # of one text
    body_bytes: int = 1_000_000
    seconds: float = 300.0  # of one request


class Server:
    """The runs that are served, each with its worker, and what the routes do."""

    def __init__(self, runs: Mapping[str, LoadedRun], limits: Limits) -> None:
        self.limits = limits
        self.workers = {name: Worker(run, limits.rows, limits.waiting) for name, run in runs.items()}
        self.metrics = ServerMetrics(self.workers)
        self.started = int(time.time())

    def find_worker(self, name: str | None) -> tuple[str, Worker]:
        """The worker of a model, the only one if none is named. Raises HTTPException."""
        if name is None and len(self.workers) == 1:
            name = next(iter(self.workers))
        if name not in self.workers:
            known = ", ".join(self.workers)
            raise HTTPException(
                404, f"model={name!r} is not served here: use {'one of ' * (len(self.workers) > 1)}{known}."
            )
        return name, self.workers[name]

    def show_model(self, name: str) -> dict[str, Any]:
        """One of the runs, as a model."""
        self.find_worker(name)
        return next(model for model in self.list_models()["data"] if model["id"] == name)

    def list_models(self) -> dict[str, Any]:
        """The runs as models."""
        common = {"object": "model", "created": self.started, "owned_by": "seqlab"}
        return {"object": "list", "data": [{"id": name, **common} for name in self.workers]}

    async def complete(self, body: CompletionRequest, request: Request) -> Any:
        """Continue one or several prompts."""
        name, worker = self.find_worker(body.model)
        prompts: Any = body.prompt  # one text or its ids, or several
        if isinstance(prompts, str) or (prompts and isinstance(prompts[0], int)):
            prompts = [prompts]
        self.check_count(worker, len(prompts) * body.n)
        options = self.read_options(body, body.max_tokens) | {"logprobs": body.logprobs}
        ids = await asyncio.to_thread(encode_prompts, worker.run, prompts)
        completions = start_completions(worker.run, ids, **options)
        return await self.respond(Response(worker.run, name, completions, is_chat=False), worker, body, request)

    async def chat(self, body: ChatRequest, request: Request) -> Any:
        """Answer a conversation."""
        name, worker = self.find_worker(body.model)
        self.check_count(worker, body.n)
        if body.top_logprobs is not None and not body.logprobs:
            raise UserError("top_logprobs has no effect without logprobs=true: set both.")
        if body.max_tokens and body.max_completion_tokens:
            raise UserError("max_tokens and max_completion_tokens are two names of one thing: leave one out.")
        wanted = body.max_completion_tokens or body.max_tokens
        options = self.read_options(body, wanted) | {"logprobs": (body.top_logprobs or 0) if body.logprobs else None}
        messages = read_messages([message.to_plain() for message in body.messages])
        completions, _ = await asyncio.to_thread(start_answers, worker.run, messages, **options)
        return await self.respond(Response(worker.run, name, completions, is_chat=True), worker, body, request)

    def check_count(self, worker: Worker, count: int) -> None:
        """Refuse more texts than there is room for, before anything is read. Raises UserError, QueueFullError."""
        most = self.limits.rows + self.limits.waiting
        if not 0 < count <= most:
            raise UserError(f"{count} texts in one request are not what this server takes: ask for 1 to {most}.")
        if worker.is_full(count):
            raise QueueFullError

    def read_options(self, body: GenerationRequest, max_tokens: int | None) -> dict[str, Any]:
        """The options of a request in seqlab's names. Raises UserError."""
        if body.stream_options and not body.stream:
            raise UserError("stream_options has no effect without stream=true: leave it out.")
        if max_tokens and max_tokens > self.limits.new_tokens:
            raise UserError(
                f"max_tokens={max_tokens} is more than this server gives: ask for {self.limits.new_tokens}."
            )
        try:
            bias = {int(token): value for token, value in (body.logit_bias or {}).items()}
            if any(str(int(token)) != token for token in body.logit_bias or {}):
                raise ValueError("written in another way")
        except ValueError as error:
            raise UserError("logit_bias names tokens by their ids, as whole numbers in quotes.") from error
        options = {
            "max_new_tokens": max_tokens or self.limits.new_tokens,
            "min_new_tokens": body.min_tokens,
            "temperature": body.temperature,
            "top_p": body.top_p if body.top_p < 1 else None,
            "top_k": body.top_k,
            "min_p": body.min_p,
            "repetition_penalty": body.repetition_penalty,
            "logit_bias": bias,
            "seed": secrets.randbelow(2**32) if body.seed is None else body.seed,
            "stop": [] if body.stop is None else body.stop,
            "n": body.n,
        }
        drawn = () if body.temperature else DRAWING_OPTIONS  # which clients send in any case
        return {key: value for key, value in options.items() if key not in drawn}

    async def respond(self, response: Response, worker: Worker, body: GenerationRequest, request: Request) -> Any:
        """The response as a whole, or as events; a client that hangs up frees its rows."""
        self.metrics.prompt_tokens.labels(response.model).inc(response.usage()["prompt_tokens"])
        pieces = self.follow(worker, response)
        if body.stream:
            wants_usage = bool(body.stream_options and body.stream_options.include_usage)
            return StreamingResponse(send_events(response, pieces, wants_usage), media_type="text/event-stream")
        work = asyncio.create_task(wait_for_end(pieces))
        hang_up = asyncio.create_task(wait_for_hang_up(request))
        try:
            await asyncio.wait({work, hang_up}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()  # raises what has gone wrong
        finally:
            work.cancel()
            hang_up.cancel()
        return response.build()

    async def follow(self, worker: Worker, response: Response) -> AsyncGenerator[Piece]:
        """The pieces of a response, counted and timed. Raises TimeoutError after the longest time."""
        start, is_first = time.perf_counter(), True
        try:
            async with aclosing(worker.follow(response.completions, self.limits.seconds)) as pieces:
                async for piece in pieces:
                    if is_first:
                        self.metrics.first_token_seconds.observe(time.perf_counter() - start)
                        is_first = False
                    yield piece
        finally:
            self.metrics.request_seconds.observe(time.perf_counter() - start)
            self.metrics.new_tokens.labels(response.model).inc(response.usage()["completion_tokens"])

    def report_health(self) -> JSONResponse:
        """Whether each model is at work."""
        is_well = all(worker.thread.is_alive() for worker in self.workers.values())
        return JSONResponse({"status": "ok" if is_well else "failed"}, 200 if is_well else 503)


def encode_prompts(run: LoadedRun, prompts: list[Any]) -> list[list[int]]:
    """The ids of prompts, which are texts or ids already. Raises UserError."""
    found = [(encode_text(run, one) if isinstance(one, str) else list(one), one) for one in prompts]
    return [check_ids(run, ids, str(one)) for ids, one in found]


async def wait_for_end(pieces: AsyncGenerator[Piece]) -> None:
    """Wait until all texts have ended."""
    async with aclosing(pieces):
        async for _ in pieces:
            pass


async def wait_for_hang_up(request: Request) -> None:
    """Wait until the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def send_events(response: Response, pieces: AsyncGenerator[Piece], wants_usage: bool) -> AsyncIterator[str]:
    """Server-sent events: a chunk for each piece, and [DONE]; an error is the last event."""
    try:
        for chunk in response.build_openings():
            yield format_event(chunk)
        async with aclosing(pieces):
            async for piece in pieces:
                if piece.text or piece.logprob or piece.finish_reason:
                    yield format_event(response.build_chunk(piece))
        if wants_usage:
            yield format_event(response.build_usage())
        yield "data: [DONE]\n\n"
    except (TimeoutError, GenerationError, QueueFullError) as error:
        status, message = explain_failure(error)
        yield format_event({"error": {"message": message, "type": "server_error", "param": None, "code": status}})


def format_event(value: dict[str, Any]) -> str:
    """One event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def explain_failure(error: Exception) -> tuple[int, str]:
    """The status and the sentence of what went wrong on the server's side."""
    if isinstance(error, QueueFullError):
        return 429, "Too many texts wait for this model: try again later."
    if isinstance(error, TimeoutError):
        return 504, "The answer took too long: ask for fewer tokens."
    return 500, f"The server failed ({type(error).__name__}: {str(error)[:200]}): see what it printed."


def describe_validation(error: RequestValidationError) -> str:
    """The first thing that is wrong in a request."""
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"][1:]]
    place = ".".join(part for part in parts if part != "str" and "[" not in part)  # without the kinds of a union
    if first["type"] == "extra_forbidden":
        return f"{place} is not supported here: leave it out."
    if first["type"] == "json_invalid" or not place:
        return NOT_JSON
    return f"{place} does not fit ({first['msg']}): change it."


def build_app(runs: Mapping[str, LoadedRun], limits: Limits, key: str | None = None) -> FastAPI:
    """The application that serves these runs by their names."""
    server = Server(runs, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for worker in server.workers.values():
            worker.start()
        yield
        for worker in server.workers.values():
            await asyncio.to_thread(worker.stop)

    app = FastAPI(title="seqlab", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.server = server
    app.add_middleware(Guard, key=key, max_bytes=limits.body_bytes, metrics=server.metrics)
    app.add_api_route("/v1/completions", server.complete, methods=["POST"], response_model=None)
    app.add_api_route("/v1/chat/completions", server.chat, methods=["POST"], response_model=None)
    app.add_api_route("/v1/models", server.list_models)
    app.add_api_route("/v1/models/{name:path}", server.show_model)
    app.add_api_route("/health", server.report_health, methods=["GET", "HEAD"])
    app.add_api_route("/metrics", lambda: PlainTextResponse(server.metrics.render()))
    app.add_api_route("/", lambda: HTMLResponse(PAGE.read_text(encoding="utf-8")), methods=["GET", "HEAD"])
    add_error_handlers(app)
    return app


def add_error_handlers(app: FastAPI) -> None:
    """Every error is a sentence, in the form of OpenAI's."""

    async def refuse(_: Request, error: Any) -> Any:
        return error_response(400, str(error))

    async def refuse_request(_: Request, error: Any) -> Any:
        return error_response(400, describe_validation(error))

    async def refuse_address(request: Request, error: Any) -> Any:
        code = "model_not_found" if error.status_code == 404 and "model=" in error.detail else None
        if error.status_code == 400:  # of a body that is not JSON
            return error_response(400, NOT_JSON)
        known = error.detail if code else f"{request.method} {request.url.path} is not answered here ({error.detail})."
        return error_response(error.status_code, known, code=code, headers=error.headers)

    async def fail(_: Request, error: Any) -> Any:
        status, message = explain_failure(error)
        return error_response(status, message, "rate_limit_error" if status == 429 else "server_error")

    app.add_exception_handler(Exception, fail)
    app.add_exception_handler(UserError, refuse)
    app.add_exception_handler(RequestValidationError, refuse_request)
    app.add_exception_handler(HTTPException, refuse_address)
    for kind in (QueueFullError, TimeoutError, GenerationError):
        app.add_exception_handler(kind, fail)
