"""An application of Tornado's own: coroutines, streaming, uploads and a WebSocket."""

import asyncio
import os
from pathlib import Path
from typing import Any

import tornado.web
import tornado.websocket
from tornado.wsgi import WSGIContainer


class Plain(tornado.web.RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(0)
        self.write(
            {
                "pid": os.getpid(),
                "client": self.request.remote_ip,
                "scheme": self.request.protocol,
                "fields": dict(self.request.headers),
                "host": self.request.host,
            }
        )

    def post(self) -> None:
        self.write(self.request.body)


class Pieces(tornado.web.RequestHandler):
    async def get(self) -> None:
        for number in range(50):
            self.write(b"%d" % (number % 10) * 100_000)
            await self.flush()


class Failing(tornado.web.RequestHandler):
    def get(self) -> None:
        raise RuntimeError("this handler fails")


class Held(tornado.web.RequestHandler):
    """Waits until the file that GATE names is written to."""

    async def get(self) -> None:
        self.set_header("X-Begun", "yes")
        self.write("begun ")
        await self.flush()
        await asyncio.to_thread(Path(os.environ["GATE"]).read_bytes)
        self.finish("done")


class Echo(tornado.websocket.WebSocketHandler):
    def on_message(self, message: Any) -> None:
        self.write_message(message)


app = tornado.web.Application(
    [("/", Plain), ("/pieces", Pieces), ("/failing", Failing), ("/held", Held), ("/socket", Echo)]
)


def _wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


contained = WSGIContainer(_wsgi)
