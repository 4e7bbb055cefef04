"""Tiles by routes of their own, the page by NiceGUI, and the guard before both."""

import asyncio
import logging
import socket
import threading
import webbrowser
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import get_args

import uvicorn
from fastapi import FastAPI, Request, Response
from nicegui import app as nicegui
from nicegui import ui

from pointseg.errors import InputError
from pointseg.labelling import tiles
from pointseg.labelling.drawing import TileKey
from pointseg.labelling.jobs import Jobs
from pointseg.labelling.learner import Learner
from pointseg.labelling.page import Page
from pointseg.labelling.session import Session
from pointseg.labelling.trust import Guard, is_local, new_token

log = logging.getLogger(__name__)

READERS = 2  # threads that read the image; the model has its own, so panning does not wait for it
POLLED = 1.0  # seconds between two looks at the file of points
FOREVER = {"cache-control": "private, max-age=86400"}


def serve(session: Session, learner: Learner, jobs: Jobs, host: str, port: int, show: bool) -> None:
    """Until Ctrl-C. Raises InputError where the port is taken."""
    token = None if is_local(host) else new_token()
    listening = _listening(host, port)
    port = listening.getsockname()[1]
    app = application(session, learner, jobs, port, token)
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    address = f"http://{name}:{port}/{f'?token={token}' if token else ''}"
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    stopped = threading.Event()
    watcher = threading.Thread(target=_watch, args=(session, stopped), daemon=True)
    watcher.start()
    learner.start()
    log.info("The page: %s (Ctrl-C ends it; every click is in %s already)", address, session.points.file)
    if show:
        threading.Timer(0.5, webbrowser.open, (address,)).start()
    try:
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    finally:
        stopped.set()
        learner.stop()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        raise InputError(
            f"host={host}, port={port}: {error.strerror}; is a page open there already? Give another port."
        ) from error
    return found


def _watch(session: Session, stopped: threading.Event) -> None:
    while not stopped.wait(POLLED):
        session.poll()


def application(session: Session, learner: Learner, jobs: Jobs, port: int, token: str | None) -> FastAPI:
    app = FastAPI(openapi_url=None)
    readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
    _add_routes(app, session, learner, readers)

    def page() -> None:
        Page(session, learner, jobs).build()

    ui.page("/", title="pointseg label")(page)
    ui.run_with(app, favicon="🛰️", show_welcome_message=False, tailwind=False)
    nicegui.on_shutdown(jobs.stop)  # whichever signal ended it
    app.add_middleware(Guard, port=port, token=token)
    return app


def _add_routes(app: FastAPI, session: Session, learner: Learner, readers: ThreadPoolExecutor) -> None:
    def key_of(scene: int, halvings: int, row: int, col: int) -> TileKey:
        key = TileKey(scene, halvings, row, col)
        if not (0 <= scene < len(session.scenes) and 0 <= halvings < 20 and row >= 0 and col >= 0):
            raise InputError("There is no such tile.")
        if min(key.area(session.scenes[scene])[2:]) <= 0:
            raise InputError("There is no such tile.")
        return key

    @app.get("/image/{scene}/{halvings}/{row}/{col}")
    async def image(scene: int, halvings: int, row: int, col: int, bands: str) -> Response:
        async def answer() -> Response:
            key = key_of(scene, halvings, row, col)
            raster = session.scenes[scene]
            shown = tiles.display(raster, *tiles.read(bands))
            loop = asyncio.get_running_loop()
            content, kind = await loop.run_in_executor(readers, partial(tiles.image, raster, key, shown))
            return Response(content, media_type=kind, headers=FOREVER)

        return await _said(answer)

    @app.get("/map/{number}/{scene}/{halvings}/{row}/{col}")
    async def tile(
        request: Request, number: int, scene: int, halvings: int, row: int, col: int, layer: str
    ) -> Response:
        async def answer() -> Response:
            if layer not in get_args(tiles.Layer):
                raise InputError("There is no such layer.")
            wish = learner.wish(key_of(scene, halvings, row, col), number)
            waited = asyncio.wrap_future(wish.future)
            while not waited.done():
                await asyncio.wait([waited], timeout=0.5)
                if not waited.done() and await request.is_disconnected():
                    waited.cancel()
                    return Response(status_code=204)
            drawn = waited.result()
            if drawn is None:
                return Response(status_code=204)
            content = tiles.painted(drawn, session.classes.colours, layer)  # type: ignore[arg-type]
            return Response(content, media_type="image/png", headers={"cache-control": "no-store"})

        return await _said(answer)


async def _said(answer: Callable[[], Awaitable[Response]]) -> Response:
    try:
        return await answer()
    except InputError as error:
        return Response(str(error), status_code=404, media_type="text/plain")
