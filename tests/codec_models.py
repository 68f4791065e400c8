"""The real architectures, small, with random weights, saved as their packages publish them. Nothing is downloaded."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

KINDS = ("encodec24", "encodec48", "dac", "mimi", "oobleck")


def make(kind: str, folder: Path) -> Path:
    """A checkpoint of that kind in folder/kind."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = _model(kind)
        with torch.no_grad():
            for module in model.modules():
                if type(module).__name__ == "EncodecEuclideanCodebook":
                    module.embed.normal_()
                if kind == "dac" and isinstance(module, (torch.nn.Conv1d, torch.nn.ConvTranspose1d)):
                    module.reset_parameters()  # transformers' own are so small that nothing but the biases is heard
                if type(module).__name__ == "MimiEuclideanCodebook":
                    module.embed_sum.normal_()
                    module._embed = None
        model.save_pretrained(folder / kind)
    return folder / kind


def _model(kind: str):
    import transformers

    if kind == "oobleck":
        from diffusers import AutoencoderOobleck

        return AutoencoderOobleck(
            encoder_hidden_size=8,
            downsampling_ratios=[2, 4, 5],
            channel_multiples=[1, 2, 4],
            decoder_channels=4,
            decoder_input_channels=4,
            sampling_rate=8000,
        )
    if kind == "dac":
        config = transformers.DacConfig(
            encoder_hidden_size=4, decoder_hidden_size=32, downsampling_ratios=[2, 4, 5], codebook_size=64
        )
        return transformers.DacModel(config)
    sizes = {"num_filters": 4, "upsampling_ratios": [4, 2, 3], "codebook_size": 64, "codebook_dim": 16}
    if kind == "mimi":
        config = transformers.MimiConfig(
            **sizes,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            intermediate_size=64,
            vector_quantization_hidden_dimension=16,
            upsample_groups=32,
            sliding_window=20,
            layer_scale_initial_scale=0.5,
        )
        return transformers.MimiModel(config)
    stereo = {
        "audio_channels": 2,
        "normalize": True,
        "use_causal_conv": False,
        "norm_type": "time_group_norm",
        "sampling_rate": 1200,
        "chunk_length_s": 1.0,
        "overlap": 0.01,
    }
    config = transformers.EncodecConfig(**sizes, hidden_size=16, **(stereo if kind == "encodec48" else {}))
    return transformers.EncodecModel(config)
