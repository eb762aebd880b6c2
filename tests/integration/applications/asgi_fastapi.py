"""A site of FastAPI with a lifespan, a WebSocket, a streaming answer and a background task."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asgi_plain import note, pass_gate
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, str]]:
    note("up")
    yield {"shelf": "books"}
    note("down")


application = FastAPI(lifespan=lifespan)


@application.get("/")
async def show(request: Request, name: str = "nobody") -> dict[str, str | None]:
    return {"name": name, "shelf": request.state.shelf, "client": request.client.host if request.client else None}


@application.post("/count")
async def count(request: Request) -> dict[str, int]:
    return {"bytes": sum([len(piece) async for piece in request.stream()])}


@application.get("/lines")
async def lines() -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        yield "first\n"
        await pass_gate()
        yield "last\n"

    return StreamingResponse(pieces(), media_type="text/plain")


@application.get("/later")
async def later(tasks: BackgroundTasks) -> dict[str, str]:
    async def work() -> None:
        await pass_gate()
        note("worked")

    tasks.add_task(work)
    return {}


@application.get("/blocking")
def blocking() -> dict[str, str]:
    return {"ran": "in a thread"}


@application.websocket("/chat")
async def chat(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(f"you said {await socket.receive_text()}")
    except WebSocketDisconnect as left:
        note(f"closed {left.code}")
