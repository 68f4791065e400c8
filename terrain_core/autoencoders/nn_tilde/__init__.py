"""Models of the nn~ convention (RAVE and its kin): TorchScript files that decode latents to audio.

`open_model` plays one, `convert` makes of it a bundle that ONNX Runtime plays several times faster. Neither imports
torch here: the file's code runs in a process of its own (`worker_torch`).
"""

from terrain_core.autoencoders.nn_tilde.autoencoder import NnTildeAutoencoder, NnTildeDecoderStream
from terrain_core.autoencoders.nn_tilde.bundle import Conversion, convert

open_model = NnTildeAutoencoder

__all__ = ["Conversion", "NnTildeAutoencoder", "NnTildeDecoderStream", "convert", "open_model"]
