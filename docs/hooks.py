"""What the site adds to its pages when it is built: the options, from the yaml files and their comments."""

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    return markdown.replace("<!-- options -->", options()) if page.file.src_uri == "options.md" else markdown


def options() -> str:
    """Each file of conf/, the commands first, then the groups of options."""
    commands = sorted(CONF.glob("*.yaml"), key=lambda file: (file.stem != "train", file.stem))
    parts = ["## Commands", *(f"### {file.stem}\n\n{_source(file)}" for file in commands)]
    for group in sorted(folder for folder in CONF.iterdir() if folder.is_dir()):
        parts.append(f"## {group.name}")
        parts += [f"### {group.name}={file.stem}\n\n{_source(file)}" for file in sorted(group.glob("*.yaml"))]
    return "\n\n".join(parts)


def _source(file: Path) -> str:
    return f"```yaml\n{file.read_text().strip()}\n```"
