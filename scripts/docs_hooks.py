"""Hooks of mkdocs: pages that live elsewhere in the repository, and links that lead there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {"index.md": "README.md", "changelog.md": "CHANGELOG.md", "security.md": "SECURITY.md"}
"""Page of the site -> file of the repository."""

EXAMPLES = "daws"
"""A folder whose files documents link to; it goes along as it is."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages, and the files that are linked to."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        text = re.sub(r"\]\(docs/", "](", text)
        for name, original in PAGES.items():
            text = text.replace(f"]({original})", f"]({name})")
        files.append(File.generated(config, page, content=_to_examples(text)))
    for path in sorted((ROOT / EXAMPLES).rglob("*")):
        if path.is_file() and path.suffix not in {".py", ".pyc"} and "terrain_daws" not in path.parts:
            place = f"examples/{path.relative_to(ROOT / EXAMPLES)}"
            files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links out of docs/ lead into the site."""
    up = "../" * page.file.src_uri.count("/")
    if page.file.src_uri.startswith("examples/"):
        markdown = re.sub(r"\]\((?:\.\./)+docs/", f"]({up}", markdown)
    for name, original in PAGES.items():
        markdown = markdown.replace(f"](../{up}{original})", f"]({up}{name})")
    return _to_examples(markdown, up)


def _to_examples(text: str, up: str = "") -> str:
    text = re.sub(r"\]\((?:\.\./)*daws/examples\)", f"]({up}examples/examples/gesture.rpp)", text)
    return re.sub(r"\]\((?:\.\./)*daws/", f"]({up}examples/", text)
