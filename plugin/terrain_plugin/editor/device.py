"""The sound on this machine's own device, by PortAudio (the optional package sounddevice)."""

from __future__ import annotations

import queue
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from terrain_core.errors import InputError
from terrain_plugin.editor.session import BLOCK

WAITING: Final = 3
"""Blocks between the player and the device."""


class Device:
    """A pace (see `session.Pace`): a sound card asks for blocks, the player makes them in its time."""

    def __init__(self, sample_rate: float, channels: int, name: str | None = None) -> None:
        """
        Args:
            name: a part of the device's name, or its number; None for the system's own choice.
        Raises:
            InputError: no sounddevice, no PortAudio, or no such device.
        """
        try:
            import sounddevice
        except (ImportError, OSError) as error:
            raise InputError(
                f"this machine's own sound needs the package sounddevice, and PortAudio ({error}): "
                "pip install 'latent-terrain[device]', on Debian apt install libportaudio2, or hear it in the page"
            ) from None
        self.gaps = 0
        """Blocks that came too late for the device."""
        self._blocks: queue.Queue[NDArray[np.float32]] = queue.Queue(WAITING)
        chosen: Any = int(name) if name is not None and name.isdecimal() else name
        try:
            self._stream: Any = sounddevice.OutputStream(
                sample_rate, BLOCK, chosen, channels, "float32", callback=self._fill
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise InputError(f"the sound device cannot be opened: {error}") from None

    def _fill(self, out: NDArray[np.float32], frames: int, when: Any, status: Any) -> None:
        try:
            out[:] = self._blocks.get_nowait().T
        except queue.Empty:
            self.gaps += 1
            out[:] = 0

    def wait(self, made: int) -> bool:
        """See `Pace`: `take` waits."""
        return True

    def take(self, audio: NDArray[np.float32]) -> None:
        """See `Pace`."""
        self._blocks.put(audio)

    def close(self) -> None:
        """Give the device back."""
        self._stream.close()
