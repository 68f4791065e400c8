"""Debian's Ardour, run headless in a home of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = Path("/usr/lib/ardour7")
SUPERCLOCKS_PER_SECOND = 282_240_000
PATIENCE_S = 60


@dataclass(frozen=True)
class Ardour:
    """An Ardour with its own settings, plugins and caches, all under `home`."""

    home: Path

    def install_vst3(self, bundle: Path) -> None:
        """Put a VST3 bundle where this Ardour looks, and have it scanned."""
        place = self.home / ".vst3" / bundle.name
        shutil.copytree(bundle, place)
        for path in (place, *place.rglob("*")):
            # Its cache keeps whole seconds: a bundle with a fraction more counts as newer and is left out.
            os.utime(path, (1_700_000_000, 1_700_000_000))
        (self.home / ".cache/ardour7/vst").mkdir(parents=True, exist_ok=True)
        self._run(LIBRARIES / "ardour-vst3-scanner", "-f", place)

    def lua(self, script: str) -> str:
        """Run a script in its Lua interpreter; returns what it printed.

        Raises:
            AssertionError: the script ends with an error.
        """
        file = self.home / "script.lua"
        file.write_text(script)
        printed = self._run("ardour7-lua", file)
        assert "Error:" not in printed, printed
        return printed

    def export(self, session: Path, name: str, out: Path) -> str:
        """Render a session's range to a float WAV; returns what it printed.

        On a busy machine an export has been seen to stand still, once in dozens, for a reason that was not found: it is
        tried once more then.
        """
        command = ("ardour7-export", "-b", "float", "-o", out, session, name)
        try:
            printed = self._run(*command)
        except subprocess.TimeoutExpired:
            printed = self._run(*command)
        assert out.is_file(), printed
        return printed

    def _run(self, *command: str | Path) -> str:
        environment = {
            **os.environ,
            "HOME": str(self.home),
            "LD_LIBRARY_PATH": str(LIBRARIES),
            "LATENT_TERRAIN_PYTHON": sys.executable,
            "XDG_STATE_HOME": str(self.home / "state"),
        }
        for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
            environment.pop(name, None)
        ran = subprocess.run(
            [str(part) for part in command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return ran.stdout


def set_session_range(session_file: Path, seconds: float) -> None:
    """Give a session the range that an export renders: from its start to `seconds`."""
    end = round(seconds * SUPERCLOCKS_PER_SECOND)
    flags = 'flags="IsSessionRange" locked="0" timestamp="1"'
    location = f'<Location id="999999" name="session" start="a0" end="a{end}" {flags}/>'
    text = session_file.read_text()
    changed = re.sub(r"<Locations/>", f"<Locations>{location}</Locations>", text, count=1)
    assert changed != text, "the session has locations already"
    session_file.write_text(changed)
