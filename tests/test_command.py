"""How commands start and end (see also tests/test_command_line.py)."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from pointseg.command import quoted


@pytest.mark.parametrize(
    "name",
    ["a (1).gpkg", "a,b.gpkg", "it's.gpkg", 'say "a".gpkg', "$x.gpkg", "${x}.gpkg", "[a].gpkg", "a b=c.gpkg", "a:b"],
)
def test_a_name_of_a_file_reaches_its_command_as_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("")
    value = OverridesParser.create().parse_override(quoted(f"points={name}")).value()
    assert str(value).replace("\\$", "$") == name


@pytest.mark.parametrize(
    "argument", ["seed=0,1,2", "points=[a.gpkg,b.gpkg]", "dataset.classes={a: 1}", "--multirun", "-m"]
)
def test_other_values_stay_as_they_are(argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.gpkg").write_text("")
    assert quoted(argument) == argument


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("Stichprobe ü.gpkg", "Stichprobe ü.gpkg"),  # which the command has yet to write
        ("[a.csv,Straße 1.csv]", ["a.csv", "Straße 1.csv"]),
        ("['Häuser', Wald]", ["Häuser", "Wald"]),
    ],
)
def test_letters_of_any_language_need_no_quotes(value: str, meant: object) -> None:
    assert OverridesParser.create().parse_override(quoted(f"key={value}")).value() == meant
