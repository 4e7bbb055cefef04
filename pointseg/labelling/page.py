"""What one browser tab shows and asks; what is labelled is the session's, and the same in every tab."""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nicegui import run, ui
from nicegui.events import GenericEventArguments

from pointseg.errors import InputError
from pointseg.imagery.rasters import Raster
from pointseg.labelling import overviews, tiles
from pointseg.labelling.jobs import Jobs
from pointseg.labelling.learner import Learner
from pointseg.labelling.panels import Panels
from pointseg.labelling.records import POINTS_ALONE, Pixel, middle
from pointseg.labelling.scene_map import SceneMap
from pointseg.labelling.session import Session
from pointseg.types import Bands, Window

log = logging.getLogger(__name__)

APART = 20.0  # pixels between a suggested point and those labelled
REFRESHED = 0.3  # seconds between two looks at what the panels show


@dataclass(frozen=True)
class View:
    """What the tab shows of its scene. zoom: doublings of the scene's pixels; negative: halvings."""

    area: Window
    zoom: int


class Page:
    """One tab: its scene, its class, the point that is picked, the suggestion that waits for an answer."""

    def __init__(self, session: Session, learner: Learner, jobs: Jobs) -> None:
        self.session, self.learner, self.jobs = session, learner, jobs
        self.scene = 0
        self.current: str | None = next(iter(session.classes.names), None)
        self.picked: int | None = None
        self.suggested: Pixel | None = None
        self.skipped: list[Pixel] = []
        self.layer = "classes"
        self.view: View | None = None
        self.shown: dict[int, Bands] = {}
        self.told = session.notes[-1].number if session.notes else 0
        self.ready = False
        self._sent: dict[str, Any] = {}

    @property
    def raster(self) -> Raster:
        return self.session.scenes[self.scene]

    @property
    def bands(self) -> Bands:
        return self.shown.get(self.scene) or tiles.usual(self.raster)

    def build(self) -> None:
        """Called by NiceGUI for each tab that opens."""
        ui.add_css(STYLE)
        with ui.element("div").classes("whole"):
            self.map = SceneMap()
            self.panels = Panels(self)
        self.client = ui.context.client
        for event, handler in (
            ("ready", self._begin),
            ("place", self._place),
            ("drag", self._drag),
            ("draw", self._draw),
            ("tool", self._tool),
            ("pick", self._pick),
            ("view", self._look),
            ("key", self._key),
        ):
            self.map.on(event, handler)
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(self.sync)

        def end() -> None:
            self.ready = False
            self.learner.listeners.remove(wake)
            self.session.listeners.remove(wake)

        self.learner.listeners.append(wake)
        self.session.listeners.append(wake)
        self.client.on_delete(end)
        ui.timer(REFRESHED, self._refresh)

    def sync(self) -> None:
        """Send the map what has changed of what it shows."""
        if not self.ready:
            return
        session, classes = self.session, self.session.classes
        if self.current not in classes.colours:
            self.current = next(iter(classes.names), None)
        self._send("scene", self.scene, *self.raster.shape, tiles.spelled(self.bands))
        self._send("legend", list(classes.colours.items()))
        self._send("points", self._points())
        self._send("outlines", self._outlines())
        self._send("others", *self._others())
        if self.picked not in session.records:
            self.picked = None
        self._send("pick", self.picked)
        fit = self.learner.fit
        number = fit.number if fit.head is not None else 0
        far = self.view is not None and self.view.zoom < -self.learner.drawing.detail
        looked = self.learner.survey.done if far else "all"  # from afar, there is more to see as the survey goes on
        colours = "".join(classes.colours.values()).replace("#", "")
        self._send("fit", number, self.layer, f"{colours}-{looked}", self.scene)

    def _send(self, method: str, *values: Any) -> None:
        if self._sent.get(method) != values:
            self._sent[method] = values
            self.map.run_method(method, *values)

    def _points(self) -> list[tuple[int, int, int, str | None]]:
        return [
            (record.id, pixel.row, pixel.col, record.name)
            for record, pixels in self.session.shown
            for pixel in pixels
            if pixel.scene == self.scene
        ]

    def _outlines(self) -> list[tuple[int, str, Any, str | None]]:
        """id, type and coordinates (x, y in pixels from the corner) as GeoJSON has them, and class."""
        return [
            (record.id, *(outline.geometry.__geo_interface__[key] for key in ("type", "coordinates")), record.name)
            for record, found in self.session.outlined
            for outline in found
            if outline.scene == self.scene
        ]

    def _others(self) -> tuple[list[Any], list[Any]]:
        """Of other people's labels: points (row, col, class); outlines as `_outlines` has them, without a number."""
        others = self.session.others
        if others is None:
            return [], []
        points = [(row, col, name) for (scene, row, col), name in others.placed() if scene == self.scene]
        outlines = [
            (*(outline.geometry.__geo_interface__[key] for key in ("type", "coordinates")), others.name(number))
            for number, found in others.sampled.outlines.items()
            for outline in found
            if outline.scene == self.scene
        ]
        return points, outlines

    async def attempt(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do it beside the page's own thread; what cannot be done is said, and None returned."""
        try:
            return await run.io_bound(work, *arguments)
        except Exception as error:  # of whatever kind: the click was not kept, and the person has to know
            if not isinstance(error, InputError):
                log.exception("The page")
            self.complain(str(error) or repr(error))
            self.map.run_method("failed")
            return None
        finally:
            for shown in ("points", "outlines"):  # what was not kept is shown no longer
                self._sent.pop(shown, None)
            self.sync()

    def complain(self, text: str) -> None:
        with self.client:
            ui.notify(text, type="negative", position="top", multi_line=True, timeout=8000, close_button="OK")

    def _begin(self) -> None:
        self.ready = True
        self._sent.clear()
        self.sync()
        self.map.run_method("opaque", self.panels.opacity)
        self.map.run_method("tool", self.panels.tools.value)

    async def _place(self, event: GenericEventArguments) -> None:
        pixel = Pixel(self.scene, int(event.args["row"]), int(event.args["col"]))
        if self.current is None:
            self.complain("Add a class first: type its name on the right.")
            self.map.run_method("failed")
            return
        self.suggest(None)
        await self.attempt(self.session.place, pixel, self.current)

    async def _drag(self, event: GenericEventArguments) -> None:
        pixel = Pixel(self.scene, int(event.args["row"]), int(event.args["col"]))
        await self.attempt(self.session.move, int(event.args["id"]), pixel)

    async def _draw(self, event: GenericEventArguments) -> None:
        if self.current is None:
            self.complain("Add a class first: type its name on the right.")
            return
        vertices = [(float(row), float(col)) for row, col in event.args["vertices"]]
        await self.attempt(self.session.outline, self.scene, vertices, bool(event.args["closed"]), self.current)

    def _tool(self, event: GenericEventArguments) -> None:
        self.panels.tools.set_value(str(event.args["tool"]))

    def _pick(self, event: GenericEventArguments) -> None:
        number = int(event.args["id"])
        self.picked = None if self.picked == number else number
        self.sync()

    def _look(self, event: GenericEventArguments) -> None:
        row, col, height, width = (int(event.args[key]) for key in ("row", "col", "height", "width"))
        self.view = View(Window(row, col, height, width), int(event.args["zoom"]))
        self.learner.view(self.scene, self.view.area)

    async def _key(self, event: GenericEventArguments) -> None:
        key = str(event.args["key"])
        if key.isdigit():
            await self._number(int(key))
        elif key in ("delete", "backspace") and self.picked is not None:
            await self.attempt(self.session.remove, self.picked)
        elif key in SHAPES and not self.session.points.shapes:  # said before anything is drawn in vain
            self.complain(f"{self.session.points.file.name} {POINTS_ALONE}")
        elif key in TOOLS:
            self.panels.tools.set_value(TOOLS[key])
        elif key == "escape":
            self.picked = None
            self.suggest(None)
            self.sync()
        elif key in KEYS:
            await KEYS[key](self)

    async def _number(self, key: int) -> None:
        """The key's class: for the picked point, for the suggestion, or for the next clicks."""
        names = self.session.classes.names
        if key > len(names):
            return
        self.current = names[key - 1]
        if self.picked is not None:
            await self.attempt(self.session.classify, self.picked, self.current)
        elif self.suggested is not None:
            pixel = self.suggested
            self.suggest(None)
            await self.attempt(self.session.place, pixel, self.current)
        self.panels.classes.show()

    async def undo(self) -> None:
        if await self.attempt(self.session.undo) is False:
            self.complain("There is nothing to undo.")

    async def redo(self) -> None:
        if await self.attempt(self.session.redo) is False:
            self.complain("There is nothing to do again.")

    async def toggle(self) -> None:
        self.panels.layers.set_value("none" if self.layer != "none" else "classes")

    async def next(self) -> None:
        """Go to the point most worth labelling."""
        if self.suggested is not None:
            self.skipped.append(self.suggested)
        pixel = await self.attempt(self.learner.suggest, list(self.skipped), APART)
        if pixel is None:
            self.complain("No point to suggest yet: label points of two classes, and wait for the first look around.")
            return
        self.go(pixel)
        self.suggest(pixel)

    def suggest(self, pixel: Pixel | None) -> None:
        self.suggested = pixel
        if pixel is None:
            self.map.run_method("suggest", None, None)
        else:
            self.mark(pixel)

    def go(self, pixel: Pixel) -> None:
        self.change_scene(pixel.scene)
        self.map.run_method("go", pixel.row, pixel.col)

    def jump(self, number: int) -> None:
        """Go to a label, and pick it."""
        pixels = self.session.pixels.get(number) or map(middle, self.session.sampled.outlines.get(number, []))
        for pixel in [*pixels][:1]:
            self.picked = number
            self.go(pixel)
            self.sync()

    def mark(self, pixel: Pixel) -> None:
        """Show where to look."""
        self.map.run_method("suggest", *pixel[1:])

    def change_scene(self, scene: int) -> None:
        if scene != self.scene:
            self.scene = scene
            self.suggest(None)
            self.panels.scenes.set_value(scene)
            self.sync()

    def change_layer(self, layer: str) -> None:
        self.layer = layer
        self.sync()

    async def change_bands(self, numbers: tuple[int, ...], by_view: bool) -> None:
        area = self.view.area if self.view else Window(0, 0, *self.raster.shape)
        work = (tiles.fitted, self.raster, area, numbers) if by_view else (tiles.measured, self.raster, numbers)
        bands = await self.attempt(*work)
        if bands is not None:
            self.shown[self.scene] = bands
            self.sync()

    async def build_overviews(self) -> None:
        ui.notify("Building smaller copies of the image beside it …", position="top")
        made = await self.attempt(overviews.build, self.raster)
        if made is not None:
            with self.client:
                ui.notify(f"{made} is there: seen from afar, the image is quick now.", type="positive", position="top")
        self.panels.refresh_image()

    def how_drawn(self) -> str:
        """What the map shows at this zoom."""
        survey = self.learner.survey
        if self.learner.unread:
            return f"Reading the ground around {self.learner.unread} points …"
        if self.learner.fit.head is None:
            return "The map appears when points of two classes are labelled."
        if self.view is None or self.view.zoom >= -self.learner.drawing.detail:
            return self._near()
        part = survey.done / max(survey.total, 1)
        return (
            f"From afar: the map at pixels {survey.step} apart, {math.floor(100 * part)} % of the ground looked at. "
            "Zoom in for every pixel."
        )

    def _near(self) -> str:
        if self.learner.drawing.room >= 1 or (self.view and self.view.zoom < 0):
            return "Every pixel shown is the map's."
        memory = math.ceil(self.learner.features.limit / self.learner.drawing.room / 10**6)
        return (
            f"So large a view is drawn anew slowly. Make the window smaller, or start with memory={memory} (megabytes)."
        )

    async def _refresh(self) -> None:
        for note in [note for note in self.session.notes if note.number > self.told]:
            self.told = note.number
            ui.notify(note.text, type="negative" if note.bad else "info", position="top", multi_line=True, timeout=8000)
        self.sync()
        await self.panels.refresh()


SHAPES = {"l": "line", "p": "polygon"}
TOOLS = {"c": "point", **SHAPES}
KEYS = {"z": Page.undo, "y": Page.redo, "n": Page.next, "m": Page.toggle}

STYLE = """
body, .nicegui-content { margin: 0; padding: 0; }
.whole { position: fixed; inset: 0; display: flex; }
.scene-map { flex: 1; height: 100%; outline: none; background: #222; cursor: crosshair; }
.scene-map .leaflet-tile { image-rendering: pixelated; }
.panel .q-field__native, .panel .q-field__input { font-size: 13px; }
.panel { width: 340px; height: 100%; overflow-y: auto; padding: 8px 12px; box-sizing: border-box; font-size: 13px; }
.grip { pointer-events: stroke; }
.panel h3 { font-size: 13px; font-weight: 600; margin: 12px 0 4px; line-height: 1.2; }
.line { display: flex; align-items: center; gap: 6px; flex-wrap: nowrap; }
.line .grow { flex: 1; min-width: 0; }
.class-row { padding: 1px 4px; border-radius: 4px; cursor: pointer; }
.class-row.current { background: #dbe9ff; }
.class-row input[type=color] { width: 22px; height: 20px; border: 0; padding: 0; background: none; cursor: pointer; }
.class-row .q-field__control { height: 26px; min-height: 26px; }
.few { color: #b00020; }
.quiet { color: #555; }
.help .q-item { padding: 2px 0; min-height: 0; }
.help .q-expansion-item__content { padding: 0; }
.figures { border-collapse: collapse; width: 100%; }
.figures td { padding: 1px 4px; }
.point, .pending, .suggested { border-radius: 50%; box-sizing: border-box; }
.point { border: 2px solid white; box-shadow: 0 0 0 1px black; cursor: grab; }
.point.picked { box-shadow: 0 0 0 3px black, 0 0 0 6px yellow; }
.pending { border: 2px dashed white; box-shadow: 0 0 0 1px black; }
.other { border: 3px solid; box-shadow: 0 0 0 1px black, inset 0 0 0 1px black; pointer-events: none; }
.suggested { border: 3px solid yellow; box-shadow: 0 0 0 2px black, inset 0 0 0 2px black; }
"""
