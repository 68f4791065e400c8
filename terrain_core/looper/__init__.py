"""The latent looper: loops of latents instead of audio, locked to the host's beats.

`layer` is what a loop holds, `looper` a looper as a value, `voice` one that plays and records; `chain` is several of
them as a value, `chain_effect` plays it; `loop_controls` are the plugin's parameters.
"""

from terrain_core.looper.chain import Binding, LatentEffects, LooperChain
from terrain_core.looper.chain_effect import ChainEffect
from terrain_core.looper.layer import Layer
from terrain_core.looper.looper import Action, Looper, State

__all__ = ["Action", "Binding", "ChainEffect", "LatentEffects", "Layer", "Looper", "LooperChain", "State"]
