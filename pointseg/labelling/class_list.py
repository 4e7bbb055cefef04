"""The classes on the page: their order, colours, names, and what is known of each."""

from typing import TYPE_CHECKING

from nicegui import ui

from pointseg.labelling.knowledge import Quality

if TYPE_CHECKING:  # each tab's page makes its list
    from pointseg.labelling.page import Page

FEW = 10  # labelled pixels of a class, below which it is marked


class Row:
    """One class. The element stays while the class is there: drawn anew, it would lose what is being typed in it."""

    def __init__(self, page: "Page", name: str) -> None:
        self.page, self.name = page, name
        session = page.session
        with ui.element("div").classes("line class-row") as self.element:
            self.element.on("click", self._choose)
            self.key = ui.label().style("width: 1em")
            self.swatch = ui.element("input").props('type=color aria-label="colour"')
            self.swatch.on(
                "change",
                lambda e: page.attempt(session.change_classes, session.classes.recolour, name, str(e.args)),
                js_handler="(e) => emit(e.target.value)",
            )
            self.field = ui.input(value=name).props("dense borderless debounce=0").classes("grow class-name")
            self.field.on("blur", self._rename)
            self.field.on("keydown.enter", js_handler="(e) => e.target.blur()")
            self.count = ui.label()
            with self.count:
                self.hint = ui.tooltip("")
            self.iou = ui.label().classes("quiet").tooltip("IoU on ground held out")
            _small("keyboard_arrow_up", "move up").on_click(
                lambda: page.attempt(session.change_classes, session.classes.move, name, -1)
            )
            self.close = _small("close", "remove class").on_click(lambda: page.attempt(session.remove_class, name))

    def show(self, place: int, colour: str, count: int, pixels: int, quality: Quality | None) -> None:
        """place: in the list, from 1. count: of its labels; pixels: that they label."""
        self.element.classes(**{"add" if self.name == self.page.current else "remove": "current"})
        self.key.set_text(str(place) if place < 10 else "")
        if self.swatch.props.get("value") != colour:
            self.swatch.props["value"] = colour
            self.swatch.update()
        self.count.set_text(str(count))
        self.count.classes(**{"add" if pixels < FEW else "remove": "few"})
        self.hint.set_text("labels; red: label more of it" if pixels < FEW else f"labels, of {pixels} pixels")
        iou = quality.iou.get(self.name) if quality else None
        self.iou.set_text("" if iou is None else f"{iou:.2f}")
        self.close.set_visibility(not count and not pixels)

    def _choose(self) -> None:
        self.page.current = self.name
        self.page.panels.classes.show()

    async def _rename(self) -> None:
        if self.field.value != self.name:
            await self.page.attempt(self.page.session.rename_class, self.name, self.field.value)
            self.field.set_value(self.name)  # where that was refused; else the row goes, and another comes


class ClassList:
    def __init__(self, page: "Page") -> None:
        self.page = page
        self.rows: dict[str, Row] = {}
        with ui.element("div").classes("class-list") as self.element:
            pass
        self._new_class()

    def show(self) -> None:
        """What has changed."""
        session, quality = self.page.session, self.page.learner.quality
        colours, counts, labelled = session.classes.colours, session.counts(), session.labelled_counts()
        for name in self.rows.keys() - colours.keys():
            self.rows.pop(name).element.delete()
        for i, (name, colour) in enumerate(list(colours.items())):
            if name not in self.rows:
                with self.element:
                    self.rows[name] = Row(self.page, name)
            row = self.rows[name]
            if self.element.default_slot.children[i] is not row.element:
                row.element.move(self.element, i)
            row.show(i + 1, colour, counts[name], labelled[name], quality)

    def _new_class(self) -> None:
        page = self.page

        async def add() -> None:
            if name := field.value.strip():
                await page.attempt(page.session.change_classes, page.session.classes.add, name)
                if name in page.session.classes.colours:
                    page.current = name
                    field.set_value("")
                self.show()

        with ui.element("div").classes("line"):
            field = ui.input(placeholder="new class: type its name, then Enter").props("dense")
            field.classes("grow new-class").on("keydown.enter", add)
            ui.button("Add", on_click=add).props("flat dense no-caps")


def _small(icon: str, label: str) -> ui.button:
    return ui.button(icon=icon).props(f'flat dense size=xs aria-label="{label}"')
