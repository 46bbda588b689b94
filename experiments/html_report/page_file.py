"""Assembles a report: page, style, scripts and data, in one file that loads nothing else."""

import base64
import hashlib
import json
import math
import string
from pathlib import Path

from attention_ar.errors import writing
from data_prep.common.files import write_whole

PARTS = Path(__file__).parent / "page"
SCRIPTS = ("elements.js", "tables.js", "charts.js", "shares.js", "clip.js", "gallery.js", "report.js")


def write_page(path, contents: dict, pictures):
    """Writes the HTML file, atomically.

    Names and labels are data: they stand in the page as JSON, which the scripts turn into text and never into markup.
    The page's policy lets the browser run these scripts alone, and load nothing from anywhere.

    Args:
      path: of the file.
      contents: what the scripts show, as JSON has it; numbers that are not finite become null.
      pictures: of each clip a JPEG, or None.
    """
    style = (PARTS / "style.css").read_text(encoding="utf-8")
    script = "\n".join((PARTS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    page = string.Template((PARTS / "page.html").read_text(encoding="utf-8")).substitute(
        policy="; ".join(
            [
                "default-src 'none'",
                f"script-src '{_hash(script)}'",
                f"style-src '{_hash(style)}'",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
            ]
        ),
        style=style,
        script=script,
        contents=as_json(contents),
        pictures="\n".join(
            f'<script type="text/plain" id="picture-{number}">{base64.b64encode(picture).decode()}</script>'
            for number, picture in enumerate(pictures)
            if picture
        ),
    )
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page.encode())


def as_json(value) -> str:
    """Returns JSON that can stand inside a `<script>` element: whatever the strings are, none of them ends it."""
    text = json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value):
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
