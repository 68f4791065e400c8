"""The rules of the house: who may import whom, and documents whose commands work."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from terrain_core.autoencoders.training.corpus import make_clip
from terrain_plugin.cli import app
from terrain_plugin.shipped import DEFAULT_INSTRUMENT

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "terrain_core": "terrain_core",
    "terrain_daws": "daws/terrain_daws",
    "terrain_plugin": "plugin/terrain_plugin",
}
ABOVE = {
    "terrain_core": {"terrain_daws", "terrain_plugin"},
    "terrain_daws": {"terrain_plugin"},
    "terrain_plugin": set(),
}
"""What a room may not import, since it stands on a higher floor."""

TORCH = {"torch", "transformers", "diffusers", "music2latent"}

DOCUMENTS = [
    ROOT / "README.md",
    *sorted(ROOT.glob("d*s/**/*.md")),
]


# Imports


def imports(path: Path, *, everywhere: bool) -> set[str]:
    """The top-level names of the packages that a file imports; only where it is itself imported, or everywhere."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else at_import(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def at_import(tree: ast.AST):
    """Nodes that run when the module is imported: not those in functions, nor those for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not typing_only:
            yield node
            yield from at_import(node)


def sources(package: str) -> list[Path]:
    files = sorted((ROOT / PACKAGES[package]).rglob("*.py"))
    assert files
    return files


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_import_only_downwards(package):
    for path in sources(package):
        assert not ABOVE[package] & imports(path, everywhere=True), path


@pytest.mark.parametrize("package", PACKAGES)
def test_torch_is_imported_when_it_is_needed(package):
    for path in sources(package):
        if "training" not in path.parts and not path.stem.endswith("_torch"):
            assert not TORCH & imports(path, everywhere=False), path


@pytest.mark.parametrize("package", PACKAGES)
def test_dask_is_imported_when_it_is_needed(package):
    for path in sources(package):
        if not path.stem.endswith("_dask"):
            assert not {"dask", "distributed"} & imports(path, everywhere=False), path


# Packaging


def test_every_version_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {
        re.split(r"[^\w-]", name)[0]
        for name in [*project["dependencies"], *(n for extra in extras.values() for n in extra)]
    }
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "a version with a local tag, or no version"
    pinned = {line.split("==")[0].replace("_", "-").lower() for line in lines}
    assert not {name.replace("_", "-").lower() for name in wanted} - pinned


# Documents


FENCE = re.compile(r"^```(\w*)\n(.*?)^```$(?:\n+```\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)


def blocks(path: Path) -> list[tuple[str, str, str]]:
    """A document's fenced blocks: language, text, and the plain block that follows it directly: its output."""
    return [(match[1], match[2], match[3] or "") for match in FENCE.finditer(path.read_text())]


def documents_with(*languages: str) -> list:
    return [
        pytest.param(path, id=str(path.relative_to(ROOT)))
        for path in DOCUMENTS
        if any(language in languages for language, _, _ in blocks(path))
    ]


@pytest.fixture(scope="session")
def sounds(tmp_path_factory):
    """A folder of a few sounds, as somebody has one."""
    folder = tmp_path_factory.mktemp("sounds")
    for index in range(4):
        clip = make_clip("test", index)
        soundfile.write(folder / f"{index + 1} {clip.family}.wav", clip.audio[: 44100 * 3 // 2], 44100)
    return folder


@pytest.fixture
def beside_the_examples(tmp_path, monkeypatch, sounds):
    """A folder to work in that looks like the repository where documents refer to it."""
    shutil.copytree(ROOT / "daws" / "examples", tmp_path / "daws" / "examples")
    shutil.copy(DEFAULT_INSTRUMENT, tmp_path / "forest.terrain")
    shutil.copytree(sounds, tmp_path / "sounds")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("HOME", str(tmp_path))  # nothing is installed into anybody's own folders
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LATENT_TERRAIN_PYTHON", sys.executable)
    return tmp_path


def matches(shown: str, printed: str) -> bool:
    """Whether output is what a document shows; "..." there stands for anything."""
    pieces = [" ".join(piece.split()) for piece in shown.split("...")]
    text, at = " ".join(printed.split()), 0
    if not text.startswith(pieces[0]) or not text.endswith(pieces[-1]):
        return False
    for piece in pieces:  # each as early as it can be
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return len(pieces) > 1 or text == pieces[0]


@pytest.mark.parametrize("document", documents_with("console", "python"))
def test_commands_and_programs_in_documents_do_what_is_shown(document, beside_the_examples):
    """In the order in which they are read, in one folder."""
    names = {"__name__": "__main__"}  # one program may go on where the one before it ended
    for language, text, shown in blocks(document):
        if language == "console":
            run_session(text)
        elif language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(text, str(document), "exec"), names)
            assert not shown or matches(shown, printed.getvalue()), printed.getvalue()


def run_session(session: str) -> None:
    for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE):
        program, *arguments = shlex.split(command)
        assert program == "terrain", f"only `terrain` can be shown: {command}"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert matches(shown, result.stdout), f"{command} printed:\n{result.stdout}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_mention_only_commands_that_exist(path):
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    for command in re.findall(r"(?:^|`|\$ )terrain ([a-z]+)", path.read_text(), re.MULTILINE):
        assert command in known, f"{path.name}: terrain {command}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_documents_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_every_benchmark_is_found_by_make_bench():
    listed = subprocess.run(
        [sys.executable, "-m", "benchmarks", "none-of-this-name"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        check=True,
    )
    assert listed.stdout == b""


def test_the_site_has_every_page():
    """`make docs` builds it, strictly; this is what can be told without building."""
    nav = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    listed = set(re.findall(r"([\w/-]+\.md)", nav))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= listed, pages - listed
    assert listed - pages == {"index.md", "changelog.md", "security.md"}  # made of files in other places
