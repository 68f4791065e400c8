"""`terrain plugin`: what is copied where, which interpreter it names, and what the doctor finds."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from terrain_core import identity
from terrain_core.errors import FileError
from terrain_plugin import binaries, doctor, installation
from terrain_plugin.clap_host import ClapLibrary
from terrain_plugin.installation import ENGINE_FILE

CLAP_FOLDER, CLAP_FILE, VST3_FOLDER = "Latent Terrain", "Latent Terrain.clap", "Latent Terrain.vst3"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="other places on other systems")


@pytest.fixture(autouse=True)
def no_trace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home of its own, with a blank and a letter that is not ASCII in its path."""
    home = tmp_path / "Zoë's home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("LATENT_TERRAIN_LOG", raising=False)
    monkeypatch.delenv(doctor.OVERRIDE, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "Plügins for the DAW"


def engine_files(folder: Path) -> list[Path]:
    return [folder / CLAP_FOLDER / ENGINE_FILE, folder / VST3_FOLDER / "Contents" / "Resources" / ENGINE_FILE]


def listing(folder: Path) -> list[str]:
    return sorted(str(found.relative_to(folder)) for found in folder.rglob("*"))


def a_python(tmp_path: Path, script: str) -> Path:
    """An interpreter in a place with an odd name, which does what the script says."""
    python = tmp_path / "bin dir ü" / "python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    python.chmod(0o755)
    return python


# Where the built plugins are


def test_path_names_both_bundles(terrain) -> None:
    shown = terrain("plugin", "path")
    assert shown.code == 0
    vst3, clap = (Path(line) for line in shown.out.splitlines())
    assert (vst3.name, clap.name) == (VST3_FOLDER, CLAP_FILE)
    assert vst3.is_absolute()
    assert doctor.library_in(vst3).is_file()
    assert ClapLibrary(clap).descriptors[0].id == identity.CLAP_ID


def test_a_package_without_plugins_says_what_to_do(terrain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(binaries, "PLACES", (tmp_path,))
    for command in ("path", "install"):
        failed = terrain("plugin", command)
        assert failed.code == 2
        assert "was not built" in failed.err
        assert "install latent-terrain again" in failed.err


# Installing


@linux_only
def test_install_puts_both_where_hosts_look(terrain) -> None:
    done = terrain("plugin", "install")
    assert done.code == 0, done.err
    home = Path.home()
    assert (home / ".vst3" / VST3_FOLDER / "Contents").is_dir()
    assert (home / ".clap" / CLAP_FOLDER / CLAP_FILE).is_file()
    assert str(home / ".vst3" / VST3_FOLDER) in done.out
    assert terrain("plugin", "install", "--user").code == 0


@linux_only
def test_installed_files_are_the_built_ones_and_name_this_python(folder: Path) -> None:
    installed = installation.install(folder)
    assert {found.format: found.bundle for found in installed} == {
        "VST3": folder / VST3_FOLDER,
        "CLAP": folder / CLAP_FOLDER / CLAP_FILE,
    }
    assert (folder / CLAP_FOLDER / CLAP_FILE).read_bytes() == binaries.clap_path().read_bytes()
    copied, built = doctor.library_in(folder / VST3_FOLDER), doctor.library_in(binaries.vst3_path())
    assert copied.read_bytes() == built.read_bytes()
    for file in engine_files(folder):
        assert json.loads(file.read_text()) == {"python": sys.executable, "version": identity.VERSION}
    assert [(found.python, found.version) for found in installed] == [(sys.executable, identity.VERSION)] * 2


def test_installing_again_replaces_everything_and_leaves_nothing_beside(folder: Path) -> None:
    installation.install(folder, python="/old/python")
    before = listing(folder)
    (folder / VST3_FOLDER / "Contents" / "left over").write_text("from an older version")
    installation.install(folder)
    assert listing(folder) == before
    assert {found.python for found in installation.find_installed(folder)} == {sys.executable}


def test_a_host_that_has_it_loaded_goes_on(folder: Path) -> None:
    clap = next(found.bundle for found in installation.install(folder) if found.format == "CLAP")
    with ClapLibrary(clap) as library:
        installation.install(folder)
        installation.uninstall(folder)
        assert library.descriptors[0].id == identity.CLAP_ID


def test_if_the_swap_fails_the_old_one_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installation.install(folder, python="/old/python")
    before = listing(folder)
    rename = Path.rename

    def refuse_new(self: Path, target: Path) -> Path:
        if ".new." in self.name:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(FileError, match="Input/output error"):
        installation.install(folder)
    assert listing(folder) == before
    assert {found.python for found in installation.find_installed(folder)} == {"/old/python"}


@linux_only
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_musician_s_own_folder_is_left_alone(terrain, folder: Path, command: str) -> None:
    own = folder / CLAP_FOLDER / "my song.rpp"
    own.parent.mkdir(parents=True)
    own.write_text("years of work")
    refused = terrain("plugin", command, "--to", folder)
    assert refused.code == 2
    assert "my song.rpp" in refused.err
    assert own.read_text() == "years of work"
    assert listing(folder) == [CLAP_FOLDER, f"{CLAP_FOLDER}/my song.rpp"]


def test_a_file_of_our_name_is_left_alone(terrain, folder: Path) -> None:
    folder.mkdir()
    (folder / VST3_FOLDER).write_text("")
    refused = terrain("plugin", "install", "--to", folder)
    assert refused.code == 2
    assert "move it away" in refused.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_says_so(terrain, folder: Path) -> None:
    folder.mkdir(mode=0o500)
    refused = terrain("plugin", "install", "--to", folder)
    assert refused.code == 2
    assert "cannot be written" in refused.err


def test_a_folder_under_a_file_says_so(terrain, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = terrain("plugin", "install", "--to", tmp_path / "file" / "below")
    assert refused.code == 2
    assert "cannot be written" in refused.err
    assert "--to" in refused.err


def test_two_places_at_once_are_refused(terrain, folder: Path) -> None:
    refused = terrain("plugin", "install", "--user", "--to", folder)
    assert refused.code == 2
    assert "choose one" in refused.err


def test_uninstall_leaves_nothing(terrain, folder: Path) -> None:
    terrain("plugin", "install", "--to", folder)
    removed = terrain("plugin", "uninstall", "--to", folder)
    assert removed.code == 0
    assert str(folder / VST3_FOLDER) in removed.out
    assert listing(folder) == []
    again = terrain("plugin", "uninstall", "--to", folder)
    assert (again.code, again.out) == (0, "nothing was installed there\n")


def test_install_as_json(terrain, folder: Path) -> None:
    found = json.loads(terrain("plugin", "install", "--to", folder, "--json").out)
    assert [row["format"] for row in found] == ["VST3", "CLAP"]
    assert all(Path(row["bundle"]).exists() for row in found)


# The doctor


def test_a_healthy_installation(terrain, folder: Path) -> None:
    terrain("plugin", "install", "--to", folder)
    seen = terrain("plugin", "doctor", "--to", folder, "--json")
    report = json.loads(seen.out)
    assert (seen.code, report["problems"]) == (0, [])
    trial = report["trial"]
    assert trial["bundle"] == str(folder / CLAP_FOLDER / CLAP_FILE)
    assert trial["status"] == "Ready"
    assert 1e-3 < trial["peak"] < 4
    assert 0 < trial["median_ms"] <= trial["worst_ms"]
    assert any(f"at {sys.executable}" in line for line in report["log_lines"]), "the engine's own banner"
    shown = terrain("plugin", "doctor", "--to", folder)
    assert shown.code == 0, shown.err
    for words in ("All is well", "Ready", "engine ready in", "latency", "Last lines of"):
        assert words in shown.out


def test_nothing_installed(terrain, folder: Path) -> None:
    """What belongs to the package is tried out with this Python, to see whether that would help."""
    seen = terrain("plugin", "doctor", "--to", folder, "--json")
    report = json.loads(seen.out)
    assert seen.code == 1
    assert report["problems"] == [
        f"no CLAP and no VST3 plugin is installed: run `terrain plugin install --to {folder}`"
    ]
    assert report["trial"]["status"] == "Ready"


def test_an_interpreter_that_is_gone(terrain, folder: Path) -> None:
    installation.install(folder, python="/vanished/python")
    seen = terrain("plugin", "doctor", "--to", folder)
    assert seen.code == 1
    assert "/vanished/python cannot be started" in seen.err
    assert "No Engine" in seen.err
    assert "cannot start /vanished/python" in seen.out, "the log's line"


def test_an_interpreter_without_the_package(terrain, folder: Path, tmp_path: Path) -> None:
    bare = a_python(tmp_path, "echo \"ModuleNotFoundError: No module named 'terrain_plugin'\" >&2; exit 1")
    installation.install(folder, python=str(bare))
    seen = terrain("plugin", "doctor", "--to", folder)
    assert seen.code == 1
    assert "cannot run the engine (ModuleNotFoundError" in seen.err


def test_an_interpreter_with_another_protocol(folder: Path, tmp_path: Path) -> None:
    installation.install(folder, python=str(a_python(tmp_path, "echo 99")))
    problems = doctor.examine(folder).problems
    assert any("speaks protocol 99" in problem for problem in problems)


def test_an_interpreter_named_by_the_environment(terrain, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installation.install(folder, python="/vanished/python")
    monkeypatch.setenv(doctor.OVERRIDE, sys.executable)
    seen = terrain("plugin", "doctor", "--to", folder)
    assert seen.code == 0, seen.err
    assert f"names another Python: {sys.executable}" in seen.out


@linux_only
def test_engine_files_that_are_missing_or_damaged(folder: Path) -> None:
    installation.install(folder)
    for file, content in zip(engine_files(folder), ("{", '["python"]'), strict=True):
        file.write_text(content)
    problems = doctor.examine(folder).problems
    assert sum("does not say which Python" in problem for problem in problems) == 2


@linux_only
def test_another_version_s_plugin(folder: Path) -> None:
    installation.install(folder)
    file = engine_files(folder)[1]
    file.write_text(json.dumps({"python": sys.executable, "version": "0.0.1"}))
    problems = doctor.examine(folder).problems
    assert len(problems) == 1
    assert "is from version 0.0.1" in problems[0]


@linux_only
def test_damaged_plugins(folder: Path) -> None:
    installation.install(folder)
    (folder / CLAP_FOLDER / CLAP_FILE).write_bytes(b"damaged")
    doctor.library_in(folder / VST3_FOLDER).unlink()
    problems = doctor.examine(folder).problems
    assert sum("cannot be loaded" in problem for problem in problems) >= 2
    assert any("is no CLAP plugin" in problem for problem in problems), "what the trial says"


def test_a_plugin_that_crashes_does_not_take_the_doctor_along(tmp_path: Path) -> None:
    source = tmp_path / "crash.c"
    source.write_text("#include <stdlib.h>\n__attribute__((constructor)) void start(void) { abort(); }\n")
    library = tmp_path / "crash.clap"
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    except FileNotFoundError:
        pytest.skip("no C compiler")
    with pytest.raises(FileError, match=r"crashes its host \(SIGABRT\)"):
        doctor.try_out(library)


# Help


@pytest.mark.parametrize("command", ["install", "uninstall", "path", "doctor"])
def test_every_command_teaches(terrain, command: str) -> None:
    assert command in terrain("plugin", "--help").out
    assert f"terrain plugin {command}" in terrain("plugin", command, "--help").out


# The page about it


def test_the_page_s_example_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (root / "docs" / "plugin.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.setenv(doctor.OVERRIDE, sys.executable)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["sound"].shape == (2, 512)
    assert np.abs(names["sound"]).max() > 1e-3
    promised = example.split("# ")[-1].strip()
    assert capsys.readouterr().out.strip() == promised


def test_the_page_names_every_command(root: Path) -> None:
    page = (root / "docs" / "plugin.md").read_text(encoding="utf-8")
    for command in ("install", "uninstall", "path", "doctor"):
        assert f"`terrain plugin {command}" in page
