"""The latent looper: loops of latents instead of audio, locked to the host's beats.

`layer` is what a loop holds, `looper` a looper as a value, `voice` one that plays and records, `chain` several of them.
"""

from terrain_core.looper.chain import ChainEffect, LooperChain
from terrain_core.looper.layer import Layer
from terrain_core.looper.looper import Action, Looper, State

__all__ = ["Action", "ChainEffect", "Layer", "Looper", "LooperChain", "State"]
