"""The engine: controls in, audio out. Block mode for hosts (`Engine`), batch mode for lanes known beforehand
(`render_batch`).
"""

from terrain_core.engine.batch import render_batch
from terrain_core.engine.block import Engine
from terrain_core.engine.controls import Controls
from terrain_core.engine.effects import Frames, LatentEffect
from terrain_core.engine.events import Block, MidiEvent, NoteExpression, ParameterPoint, TimedMidi, Transport
from terrain_core.engine.player import Faults
from terrain_core.engine.sources import EncoderStream

__all__ = [
    "Block",
    "Controls",
    "EncoderStream",
    "Engine",
    "Faults",
    "Frames",
    "LatentEffect",
    "MidiEvent",
    "NoteExpression",
    "ParameterPoint",
    "TimedMidi",
    "Transport",
    "render_batch",
]
