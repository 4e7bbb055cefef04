"""Names of classes: which spellings mean one class, and how it is shown."""

import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal

import pandas as pd

log = logging.getLogger(__name__)

NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
JOINERS = "\u200c\u200d"  # invisible, but a part of the spelling in Persian and Hindi
SHOWN = 10  # names written in several ways that one message lists


def texts(column: "pd.Series[object]") -> "pd.Series[str]":
    """Values of any type as `clean` names; missing where there is none.

    A column of whole numbers that lacks some is one of floating-point numbers: 1.0 is written as 1 again.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        column = column.dt.strftime("%Y-%m-%d")
    written = [None if pd.isna(value) else clean(_text(value)) for value in column]
    return pd.Series([text or None for text in written], column.index, dtype="string")


def _text(value: object) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)  # type: ignore[call-overload]


def clean(name: str) -> str:
    """The name with composed accents, single spaces and without invisible characters (zero-width, soft hyphen, BOM)."""
    visible = (
        " " if unicodedata.category(letter) == "Cc" else letter
        for letter in unicodedata.normalize("NFC", name)
        if unicodedata.category(letter) != "Cf" or letter in JOINERS
    )
    return " ".join("".join(visible).split())


def key(name: str) -> str:
    """The same for names that a reader takes for one: in case, width (Unicode's NFKC), or of numbers of equal value."""
    plain = clean(unicodedata.normalize("NFKC", name).translate(dict.fromkeys(map(ord, JOINERS))))
    if NUMBER.fullmatch(plain):
        return str(Decimal(plain).normalize() + 0)  # + 0: -0 is 0
    return unicodedata.normalize("NFKC", plain.casefold())


def unified(names: "pd.Series[str]", raw: "pd.Series[object]") -> "pd.Series[str]":
    """Names that differ in `key` alone under the most frequent of their spellings; says which.

    raw: as the files have them, for the message, where what cannot be seen is written as its code.
    """
    keys = names.map(key, na_action="ignore")
    shown = {name: of_key.value_counts().sort_index().idxmax() for name, of_key in names.groupby(keys)}
    spellings = raw[names.notna()].astype(str).groupby(keys[names.notna()]).value_counts()
    several = [
        f"{shown[name]} (" + ", ".join(f"{spelling!a} {count}" for (_, spelling), count in of_name.items()) + ")"
        for name, of_name in spellings.groupby(level=0)
        if len(of_name) > 1
    ]
    if several:
        log.warning(
            "Class names written in several ways are taken for one: %s%s. If they are several classes, rename them.",
            *("; ".join(several[:SHOWN]), "; …" if len(several) > SHOWN else ""),
        )
    return keys.map(shown, na_action="ignore")


def respelled(names: "pd.Series[str]", wanted: Sequence[str]) -> "pd.Series[str]":
    """The names as `wanted` spells them; others stay as they are."""
    spelling = {key(name): name for name in wanted}
    return names.map(lambda name: spelling.get(key(name), name), na_action="ignore")


def alike(names: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs of names that mean one class."""
    seen: dict[str, str] = {}
    return [(first, name) for name in names if (first := seen.setdefault(key(name), name)) is not name]
