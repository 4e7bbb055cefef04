"""Which scene a file of labels means: by its id, its file's name, or the end of its path, as any system writes it."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from pointseg.errors import Faults
from pointseg.imagery.rasters import Raster

UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of a file
PART = 4  # letters and digits at least of a part of a scene's name, such as its year


def of_images(texts: Iterable[str], scenes: Sequence[Raster], file: Path) -> dict[str, int]:
    """The index of the scene that each text names; -1 where none has that name.

    Raises InputError where several have, and where two texts of different folders would mean one scene.
    """
    paths = [_parts(str(scene.file.absolute())) for scene in scenes]
    ids = {scene.id: i for i, scene in enumerate(scenes)}
    found: dict[str, int] = {}
    guesses: dict[int, str] = {}
    with Faults() as faults:
        for text in texts:
            shared = [_shared(_parts(text), path) for path in paths]
            best = max(shared, default=0)
            likely = [i for i, count in enumerate(shared) if count == best and best]
            found[text] = ids.get(text, likely[0] if len(likely) == 1 else -1)
            if text not in ids and len(likely) > 1:
                several = ", ".join(scenes[i].id for i in likely[:5])
                faults.add(
                    f"{file}: the scene {text!r} may be any of {several}; write as much of its path as tells them."
                )
            # Of a folder that is not here, as on another machine: fair, unless another folder's has the same name.
            guessed = found[text] >= 0 and text not in ids and best < len(_parts(text))
            if guessed and (other := guesses.setdefault(found[text], text)) != text:
                faults.add(
                    f"{file}: the scenes {other!r} and {text!r} would both be {scenes[found[text]].file}; write paths "
                    "that end as those of the images do."
                )
    return found


def _parts(path: str) -> list[str]:
    """Names of folders and file in small letters and composed accents, the file's without what an upload adds."""
    composed = unicodedata.normalize("NFC", path.replace("\\", "/").casefold())
    parts = [part for part in composed.split("/") if part not in ("", ".")]
    return [*parts[:-1], UPLOADED.sub("", parts[-1])] if parts else []


def _shared(named: Sequence[str], path: Sequence[str]) -> int:
    """The parts that both paths end with. A name may lack its suffix."""
    if not named or named[-1] not in (path[-1], path[-1].rpartition(".")[0]):
        return 0
    count = 1
    while count < min(len(named), len(path)) and named[-1 - count] == path[-1 - count]:
        count += 1
    return count


def of_parts(text: str, scenes: Sequence[Raster]) -> list[int]:
    """The scene that the text names, or else those whose id contains its letters and digits, as those of a date."""
    if exact := [i for i, scene in enumerate(scenes) if text in (scene.id, scene.file.name)]:
        return exact
    wanted = _plain(text)
    return [i for i, scene in enumerate(scenes) if len(wanted) >= PART and wanted in _plain(scene.id)]


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))
