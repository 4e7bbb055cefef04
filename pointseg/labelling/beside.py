"""The panel of other people's labels: how many there are, whether to learn from them, and where they differ."""

from typing import TYPE_CHECKING, Any

from nicegui import run, ui

from pointseg.labelling.others import Difference

if TYPE_CHECKING:  # each tab's page makes its panel
    from pointseg.labelling.page import Page

SHOWN = 500  # differences in the list


class Beside:
    """Nothing where there are no such labels."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.found: list[Difference] = []
        if page.session.others is None:
            return
        ui.html("<h3>Labels of others</h3>", sanitize=False)
        self.said = ui.label().classes("quiet beside")
        self.trust = ui.checkbox(
            "Learn from them too",
            value=page.session.trusting,
            on_change=lambda e: page.attempt(page.session.trust, bool(e.value)),
        ).props("dense")
        columns = [
            {"name": key, "label": label, "field": key, "align": "left", "sortable": True}
            for key, label in (("theirs", "they say"), ("ours", ""), ("scene", "scene"), ("row", "row"), ("col", "col"))
        ]
        self.table = ui.table(rows=[], columns=columns, row_key="id").props(
            'dense flat virtual-scroll :rows-per-page-options="[0]" hide-bottom'
        )
        self.table.classes("differences").style("max-height: 220px")
        self.table.on("rowClick", lambda e: self._go(int(e.args)), js_handler="(e, row) => emit(row.id)")

    async def refresh(self) -> None:
        session, learner = self.page.session, self.page.learner
        others = session.others
        if others is None:
            return
        own = await run.io_bound(others.against, session.shown, session.outlined) or []  # None where it ends
        self.found = own + (await run.io_bound(learner.against_map) or [])
        known = sum(pixel in learner.compared for _, pixel in learner.to_compare())
        count = len(others.points) + len(others.shapes)
        text = f"{count} labels: {len(own)} say something else than yours, {len(self.found) - len(own)} than the map"
        waiting = "" if known == len(learner.to_compare()) else "; the map is still being compared"
        self.said.set_text(f"{text}{waiting}. Click a line to go there.")
        self.trust.set_value(session.trusting)
        self.table.rows = [self._row(i, difference) for i, difference in enumerate(self.found[:SHOWN])]
        self.table.update()

    def _row(self, number: int, difference: Difference) -> dict[str, Any]:
        scene, row, col = difference.place
        certainty = difference.certainty
        says = "you: " if certainty is None else f"map ({certainty:.0%}): "
        return {
            "id": number,
            "theirs": difference.theirs,
            "ours": says + difference.ours,
            "scene": self.page.session.scenes[scene].id,
            "row": row,
            "col": col,
        }

    def _go(self, number: int) -> None:
        if number < len(self.found):
            self.page.go(self.found[number].place)
            self.page.mark(self.found[number].place)
