"""Hooks of mkdocs: pages of other folders, pages of the API, and links out of docs/.

The Markdown files have links for a code host, relative to their own place. On the site,
a link to a file that is no page leads to REPOSITORY_URL, an environment variable;
without it, the file's path stands there.
"""

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent
# Pages of the site that lie outside of docs/.
OUTSIDE = {
    "index.md": "README.md",
    "benchmarks.md": "benchmarks/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not in docs/."""
    for place, source in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    for name, modules in config.extra["api"].items():
        text = f"# API of {name}\n\n" + "".join(f"::: {m}\n\n" for m in modules)
        files.append(File.generated(config, f"api/{name}.md", content=text))
    return files


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Turns links between files of the repository into links of the site."""
    place = page.file.src_uri
    source = OUTSIDE.get(place, f"docs/{place}")

    def link(match: re.Match[str]) -> str:
        mark, text, target, anchor = match.groups("")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if ":" in target or not (ROOT / path).exists():
            return match[0]
        uri = page_of(path)
        if uri is not None:
            there = posixpath.relpath(uri, posixpath.dirname(place) or ".")
            return f"{mark}[{text}]({there}{anchor})"
        address = os.environ.get("REPOSITORY_URL", "").rstrip("/")
        if address:
            return f"{mark}[{text}]({address}/blob/main/{path}{anchor})"
        return f"`{path}`" if text.strip("`") in path else f"{text} (`{path}`)"

    return LINK.sub(link, markdown)


def page_of(path: str) -> str | None:
    """Returns the place on the site of a file of the repository, if it has one."""
    for place, source in OUTSIDE.items():
        if path == source:
            return place
    inside = path.startswith("docs/") and (ROOT / path).is_file()
    return path.removeprefix("docs/") if inside else None
