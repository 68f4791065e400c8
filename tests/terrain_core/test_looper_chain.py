"""Chains of loopers in the engine: series, parallel, song order, block and batch, and the sound that comes out."""

from __future__ import annotations

import numpy as np
import pytest

from terrain_core.autoencoders.pitch import track_pitch
from terrain_core.engine import Block, Engine, Transport, render_batch
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.looper import Action, Layer, Looper, LooperChain, State
from terrain_core.tempo import TempoMap, TempoPoint
from tests.terrain_core.test_looper_voice import wave
