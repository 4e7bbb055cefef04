"""The right side of the page: classes, layers, quality, what to do next, points."""

from typing import TYPE_CHECKING, Any

from nicegui import run, ui
from nicegui.events import ValueChangeEventArguments
from pyproj import CRS

from pointseg.labelling import overviews
from pointseg.labelling.beside import Beside
from pointseg.labelling.class_list import ClassList
from pointseg.labelling.layer import kind_of
from pointseg.labelling.records import Pixel, Record, middle

if TYPE_CHECKING:  # each tab's page makes its panels
    from pointseg.labelling.page import Page

LAYERS = {"classes": "Classes", "sure": "Classes, faint where unsure", "confidence": "Confidence", "none": "No map"}
HELP = """Click: a point of the marked class.
1–9: mark another class.
Click a label: pick it; then 1–9 changes its class, Delete removes it.
Drag a point: move it.
L, P: draw lines, polygons, corner by corner; a double click ends one, Backspace takes its last\
 corner back, Esc drops it. C: points again.
N: the next point worth labelling; a click or 1–9 answers it.
Z, Shift+Z: undo, redo. M: map on or off. Esc: let go."""


# A list that keeps the keyboard would take the keys of the map for its own.
LET_GO = "() => setTimeout(() => document.activeElement?.blur(), 50)"


class Panels:
    """page: the tab's, which does what the panels ask."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.opacity = 0.5
        self._known: dict[str, Any] = {}
        with ui.element("div").classes("panel"):
            self._scene_choice()
            ui.html("<h3>Classes</h3>", sanitize=False)
            self.classes = ClassList(page)
            self._tools()
            self._help()
            self._map_choice()
            self._image()
            ui.html("<h3>How good the map is</h3>", sanitize=False)
            self._quality()
            ui.html("<h3>Next</h3>", sanitize=False)
            self._actions()
            self._job()
            self.beside = Beside(page)
            ui.html("<h3>Labels</h3>", sanitize=False)
            self._points()

    async def refresh(self) -> None:
        """What has changed since the last time."""
        page, learner, session = self.page, self.page.learner, self.page.session
        self.status.set_text(page.how_drawn())
        if self._new("classes", (session.version, page.current, page.picked, id(learner.quality))):
            self.classes.show()
        elif self._new("points", session.version):  # the list may be long: once the hand rests
            self.table.rows = self._rows()
            self.table.update()
        if self._new("quality", (learner.fit.number, learner.survey.done, id(learner.quality))):
            self._shares = await run.io_bound(learner.shares)
            self._quality.refresh()
        if self._new("beside", (session.version, learner.fit.number, len(learner.compared))):
            await self.beside.refresh()
        job = page.jobs.job
        if self._new("job", job and (job.folder, job.state, len(job.lines), job.progress)):
            self._job.refresh()
        if self._new("scene", page.scene):
            self.refresh_image()

    def _new(self, what: str, value: Any) -> bool:
        changed = self._known.get(what, self) != value
        self._known[what] = value
        return bool(changed)

    def refresh_image(self) -> None:
        self._image.refresh()

    def _scene_choice(self) -> None:
        scenes = {i: scene.id for i, scene in enumerate(self.page.session.scenes)}
        self.scenes = (
            ui.select(scenes, value=self.page.scene, label="Scene", on_change=lambda e: self.page.change_scene(e.value))
            .props("dense")
            .style("width: 100%")
        )
        self.scenes.set_visibility(len(scenes) > 1)
        self.scenes.on("popup-hide", js_handler=LET_GO)

    def _help(self) -> None:
        """Open for who has labelled nothing yet."""
        opened = not self.page.session.records
        with ui.expansion("Keys and clicks", value=opened).props("dense dense-toggle").classes("help"):
            ui.label(HELP).classes("quiet").style("white-space: pre-line")

    def _tools(self) -> None:
        """What clicks on the map make."""
        self.tools = (
            ui.toggle(
                {"point": "Points (C)", "line": "Lines (L)", "polygon": "Polygons (P)"},
                value="point",
                on_change=lambda e: self.page.map.run_method("tool", e.value),
            )
            .props("dense no-caps unelevated spread size=sm color=grey-3 text-color=black toggle-color=primary")
            .style("margin-top: 8px")
        )
        self.tools.set_visibility(self.page.session.points.shapes)

    def _map_choice(self) -> None:
        ui.html("<h3>Map</h3>", sanitize=False)
        self.layers = (
            ui.select(LAYERS, value=self.page.layer, on_change=lambda e: self.page.change_layer(e.value))
            .props("dense")
            .style("width: 100%")
        )

        self.layers.on("popup-hide", js_handler=LET_GO)

        def changed(event: ValueChangeEventArguments[float | None]) -> None:
            self.opacity = float(event.value or 0)
            self.page.map.run_method("opaque", self.opacity)

        with ui.element("div").classes("line"):
            ui.label("Opacity")
            ui.slider(min=0, max=1, step=0.05, value=self.opacity, on_change=changed).classes("grow opacity")
        self.status = ui.label().classes("quiet status")

    @ui.refreshable_method
    def _image(self) -> None:
        page, raster = self.page, self.page.raster
        ui.html("<h3>Image</h3>", sanitize=False)
        numbers = list(raster.bands.numbers)
        chosen = list(page.bands.numbers)
        if len(numbers) > 1:
            with ui.element("div").classes("line"):
                for i, colour in enumerate(("red", "green", "blue")):
                    ui.select(
                        numbers, value=chosen[i], label=colour, on_change=lambda e, i=i: self._band(chosen, i, e.value)
                    ).props("dense").classes("grow").on("popup-hide", js_handler=LET_GO)
        with ui.element("div").classes("line"):
            for text, by_view in (("As the model sees it", False), ("Stretch to the view", True)):
                ui.button(text, on_click=lambda by_view=by_view: page.change_bands(tuple(chosen), by_view)).props(
                    "flat dense no-caps size=sm"
                )
        if overviews.lacking(raster):
            with ui.element("div").classes("line"):
                ui.label("Large, and without overviews: slow from afar.").classes("few")
                ui.button("Build them", on_click=page.build_overviews).props("flat dense no-caps size=sm")

    async def _band(self, chosen: list[int], place: int, number: int) -> None:
        chosen[place] = number
        await self.page.change_bands(tuple(chosen), False)

    @ui.refreshable_method
    def _quality(self) -> None:
        quality, history = self.page.learner.quality, self.page.learner.history
        if quality is None:
            ui.label(
                "Label points of each class in several places: then the map is judged on ground held out."
            ).classes("quiet quality")
        else:
            before = history[-2] if len(history) > 1 else None
            ui.label(_scored("Accuracy", quality.accuracy, before.accuracy if before else None)).classes("quality")
            ui.label(_scored("Mean IoU", quality.miou, before.miou if before else None)).classes("quality")
            ui.label(
                f"At {quality.points} points on ground held out in turn; the choice of the head flatters it a little."
            ).classes("quiet")
        self._ground()

    def _ground(self) -> None:
        """Shares of the classes, and areas where the scenes tell them."""
        shares: dict[str, float] = getattr(self, "_shares", {})
        survey = self.page.learner.survey
        if not shares:
            return
        hectares = _hectares(self.page.session.scenes)
        with ui.element("table").classes("figures"):
            for name, share in shares.items():
                with ui.element("tr"):
                    with ui.element("td"):
                        ui.label(name)
                    with ui.element("td"):
                        ui.label(f"{100 * share:.1f} %")
                    with ui.element("td"):
                        ui.label("" if hectares is None else f"{share * hectares:,.2f} ha")
        looked = f"{survey.done} of {survey.total} windows"
        ui.label(f"As the map has it, from pixels {survey.step} apart in {looked}.").classes("quiet")

    def _actions(self) -> None:
        page = self.page
        with ui.element("div").classes("line"):
            ui.button("Next point (N)", on_click=page.next).props("dense no-caps size=sm")
            ui.button("Undo (Z)", on_click=page.undo).props("dense no-caps size=sm flat")
            ui.button("Redo", on_click=page.redo).props("dense no-caps size=sm flat")
        with ui.element("div").classes("line").style("margin-top: 6px"):
            ui.button("Make the map", on_click=lambda: self._start(page.jobs.make_map)).props("dense no-caps size=sm")
            ui.button("Save the run", on_click=lambda: self._start(page.jobs.save_run)).props("dense no-caps size=sm")

    async def _start(self, work: Any) -> None:
        session = self.page.session
        used = session.counts() + session.labelled_counts()
        chosen = {name: colour for name, colour in session.classes.colours.items() if used[name]}
        await self.page.attempt(work, chosen, session.training())

    @ui.refreshable_method
    def _job(self) -> None:
        job = self.page.jobs.job
        if job is None:
            return
        with ui.element("div").classes("job"):
            with ui.element("div").classes("line"):
                ui.label(f"{job.name}: {job.state}").classes("grow")
                if job.state == "running":
                    ui.button("Stop", on_click=job.stop).props("dense no-caps size=sm flat")
            if job.state == "running":
                ui.linear_progress(value=job.progress or 0, show_value=False).props(
                    "indeterminate" if job.progress is None else ""
                )
            ui.label(str(job.folder)).classes("quiet").style("overflow-wrap: anywhere")
            shown = job.lines[-12:] if job.state == "failed" else job.lines[-1:]
            ui.label("\n".join(shown)).classes("quiet").style("white-space: pre-wrap; overflow-wrap: anywhere")

    def _points(self) -> None:
        columns = [
            {"name": key, "label": label, "field": key, "align": "left", "sortable": True}
            for key, label in (("name", "class"), ("kind", ""), ("scene", "scene"), ("row", "row"), ("col", "col"))
        ]
        self.table = ui.table(rows=[], columns=columns, row_key="id").props(
            'dense flat virtual-scroll :rows-per-page-options="[0]" hide-bottom'
        )
        self.table.style("max-height: 260px")
        self.table.on("rowClick", lambda e: self.page.jump(int(e.args)), js_handler="(e, row) => emit(row.id)")

    def _rows(self) -> list[dict[str, Any]]:
        session = self.page.session
        points = ((record, pixels[:1]) for record, pixels in session.shown)
        shapes = ((record, [middle(outline) for outline in found[:1]]) for record, found in session.outlined)
        return [self._row(record, pixels) for record, pixels in (*points, *shapes)]

    def _row(self, record: Record, pixels: list[Pixel]) -> dict[str, Any]:
        return {
            "id": record.id,
            "name": record.name or "– none yet –",
            "kind": kind_of(record).removesuffix("STRING").lower(),
            "scene": self.page.session.scenes[pixels[0].scene].id if pixels else "in no scene",
            "row": pixels[0].row if pixels else "",
            "col": pixels[0].col if pixels else "",
        }


def _scored(what: str, now: tuple[float, float, float], before: tuple[float, float, float] | None) -> str:
    moved = f" ({now[0] - before[0]:+.3f})" if before else ""
    if now[1] == now[2]:
        return f"{what} {now[0]:.3f}{moved}; too few points for an interval"
    return f"{what} {now[0]:.3f}{moved}; 95 %: {now[1]:.3f} to {now[2]:.3f}"


def _hectares(scenes: Any) -> float | None:
    """Of all scenes; None where one does not say it in a unit of length."""
    total = 0.0
    for scene in scenes:
        crs = None if scene.crs is None else CRS.from_wkt(scene.crs)
        if crs is None or not crs.is_projected:
            return None
        unit = crs.axis_info[0].unit_conversion_factor
        total += scene.shape[0] * scene.shape[1] * abs(scene.transform.determinant) * unit**2 / 10_000
    return total
