"""Small genuine RAVE models with random weights, by the package's own export path: what the tests convert and play.

Runs in the environment that scripts/rave_env makes, not in the project's own:

    .cache/rave-venv/bin/python scripts/export_rave.py .cache/rave-models [NAME...]
    .cache/rave-venv/bin/python scripts/export_rave.py .cache/rave-models --full [NAME...]    sizes as published

Each model is exported in a process of its own, since gin's configuration cannot be taken back. Beside each NAME.ts
stands NAME.json: its true delay, found by comparing the streaming decoder with the offline one of the same weights.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path

SMALL = ["CAPACITY=8", "LATENT_SIZE=16"]
KEPT = 4
"""Latents that are kept after the rotation, of `LATENT_SIZE`."""

# name: configurations of the package, bindings, and what else: channels, output channels, streaming, sample rate
MODELS: dict[str, tuple[list[str], list[str], dict[str, int]]] = {
    "v2_small_causal": (["v2_small", "causal"], [], {}),
    "v2_small": (["v2_small"], [], {}),
    "v2": (["v2"], [], {}),
    "v2_noise": (["v2", "noise"], [], {}),
    "v1": (["v1"], [], {}),
    "stereo": (["v2_small", "causal"], [], {"channels": 2}),
    "v3": (["v3"], [], {}),
    "discrete": (["discrete"], ["NUM_QUANTIZERS=3", "CODEBOOK_SIZE=64", "NOISE_AUGMENTATION=5"], {}),
    "wasserstein": (["v2", "wasserstein"], ["NOISE_AUGMENTATION=6"], {}),
    "spherical": (["v2", "spherical"], [], {}),
    "brave": (
        ["v2", "causal"],
        ["RATIOS=[2,2,2]", "DILATIONS=[[1,3,9],[1,3,9],[1,3]]", "pqmf.CachedPQMF.attenuation=40"],
        {},
    ),
    "resampled": (["v2_small", "causal"], [], {"sample_rate": 88200}),
    # The same weights as v2 and v2_small_causal, without caches: what shows how late the streaming ones are.
    "v2_offline": (["v2"], [], {"streaming": 0}),
    "v2_small_causal_offline": (["v2_small", "causal"], [], {"streaming": 0}),
}
FULL = {"v2_small", "v2", "v1"}
LIKELY = ["v2_small_causal", "v2", "v1", "v2_noise", "stereo", "v3", "discrete", "wasserstein"]
DEFAULT = [*LIKELY, "spherical", "brave", "resampled", "v2_offline", "v2_small_causal_offline"]


def main(arguments: list[str]) -> int:
    full = "--full" in arguments
    folder, *names = [argument for argument in arguments if argument != "--full"]
    if len(names) == 1 and os.environ.get("EXPORT_ONE"):
        export(names[0], Path(folder), full)
        return 0
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in names or (sorted(FULL & set(MODELS)) if full else DEFAULT):
        if (Path(folder) / f"{name}.ts").exists():
            continue
        flags = ["--full"] if full else []
        done = subprocess.run(
            [sys.executable, __file__, folder, name, *flags],
            env={**os.environ, "EXPORT_ONE": "1", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            print(f"{name}: not exported\n{done.stderr[-3000:]}", file=sys.stderr)
            return 1
        print(f"{folder}/{name}.ts")
    return 0


def prepare() -> None:
    """Let the package import beside a SciPy, a NumPy and a torch newer than it names; training's needs are stand-ins.

    See acids-ircam/RAVE#338 for SciPy's part.
    """
    import numpy as np
    import scipy.signal

    signal = scipy.signal
    signal.kaiser = signal.windows.kaiser
    firwin, kaiserord = signal.firwin, signal.kaiserord

    def old_firwin(taps, cutoff, *, nyq=None, **options):
        if nyq is not None:
            options["fs"] = 2 * float(nyq)
        return firwin(int(taps), float(np.squeeze(cutoff)), **options)

    signal.firwin = old_firwin
    signal.kaiserord = lambda ripple, width: kaiserord(ripple, float(np.squeeze(width)))

    # What only training needs is not installed, and is not asked for anything: audio transforms, data sets, GPUs.
    for part in ("torchaudio", "librosa", "lmdb", "GPUtil"):
        if importlib.util.find_spec(part) is None:
            stand_in(part)
    stand_in("torchaudio.transforms")
    for part in ("udls", "udls.transforms", "udls.generated"):  # installed, it wants a protobuf from years ago
        stand_in(part)
    # nn_tilde writes the source of what it scripts into its own folder: give it one that may be written to.
    own = Path(tempfile.mkdtemp(prefix="nn_tilde_"))
    found = importlib.util.find_spec("nn_tilde")
    shutil.copytree(Path(found.origin).parent, own / "nn_tilde")
    sys.path.insert(0, str(own))


def stand_in(name: str) -> None:
    """Put a module in place that has every class one asks it for; each takes anything and does nothing."""
    import torch

    class Anything(torch.nn.Module):
        def __init__(self, *given, **named):
            super().__init__()

    def member(wanted: str) -> type:
        if wanted.startswith("__"):
            raise AttributeError(wanted)
        return type(wanted, (Anything,), {})

    module = types.ModuleType(name)
    module.__getattr__ = member
    module.__all__ = ["Transform"]
    module.__path__ = []
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)  # who looks for the package finds one, with no version
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)


def export(name: str, folder: Path, full: bool) -> None:
    prepare()
    import cached_conv as cc
    import gin
    import torch

    configurations, bindings, other = MODELS[name]
    streaming = bool(other.get("streaming", 1))
    cc.use_cached_conv(streaming)
    import rave
    import scripts.export as exporter  # before the configuration is read, which locks it

    channels = other.get("channels", 1)
    torch.manual_seed(3)
    gin.parse_config_files_and_bindings(
        [str(rave.BASE_PATH / "configs" / f"{part}.gin") for part in configurations],
        [*(["LATENT_SIZE=16"] if full else SMALL), *bindings, f"RAVE.n_channels={channels}"],
    )
    model = rave.RAVE().eval()
    make_lively(model, torch)
    kept = 8 if full else KEPT
    size = model.latent_size
    model.fidelity.copy_((torch.arange(size) >= kept).float())
    model.latent_pca.copy_(torch.linalg.qr(torch.randn(size, size))[0])
    model.latent_mean.copy_(0.3 * torch.randn(size))
    for module in model.modules():
        if hasattr(module, "weight_g"):
            torch.nn.utils.remove_weight_norm(module)
    kinds = {
        "VariationalEncoder": exporter.VariationalScriptedRAVE,
        "DiscreteEncoder": exporter.DiscreteScriptedRAVE,
        "WasserteinEncoder": exporter.WasserteinScriptedRAVE,
        "SphericalEncoder": exporter.SphericalScriptedRAVE,
    }
    torch.set_grad_enabled(False)
    scripted = kinds[type(model.encoder).__name__](
        pretrained=model,
        channels=channels,
        fidelity=0.95,
        target_sr=other.get("sample_rate"),
    )
    scripted.decode(scripted.encode(torch.zeros(1, channels, 2**14)))
    unfinished = folder / f"{name}.{os.getpid()}.part"
    scripted.export_to_ts(str(unfinished))
    (folder / f"{name}.json").write_text(json.dumps({"configurations": configurations, "bindings": bindings}))
    unfinished.rename(folder / f"{name}.ts")


def make_lively(model, torch) -> None:
    """Random weights that sound: the output near full scale, the noise branch audible, statistics that are not 0 and 1.

    As they are initialised, a decoder gives a whisper and its noise branch nothing at all, and an error in either would
    pass unnoticed.
    """
    import rave.blocks as blocks

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
            elif isinstance(module, blocks.Snake):
                module.alpha.uniform_(0.3, 2)
            elif type(module).__name__ == "EuclideanCodebook":
                module.embed.normal_()  # as training leaves it: initialised, and not all zero
                module.inited.fill_(1)
        decoder = model.decoder
        if hasattr(decoder, "warmed_up"):
            decoder.warmed_up.fill_(1)  # version 1 plays its noise only after the first phase of training
        wave = getattr(decoder, "waveform_module", None)
        if wave is None:
            wave = decoder.synth.branches[0] if hasattr(decoder, "synth") else decoder.net[-1]
        noisy = [m for m in decoder.modules() if isinstance(m, (blocks.NoiseGenerator, blocks.NoiseGeneratorV2))]
        size = getattr(model.encoder, "noise_augmentation", 0) + model.latent_size
        z = torch.randn(1, size, 64)
        scale(decoder, z, wave, wave, 0.04)  # of which the filter bank adds up one per band
        for branch in noisy:
            scale(decoder, z, branch, branch.net[-1], 0.004)


def scale(decoder, z, measured, scaled, wanted: float) -> None:
    """Make the weights of one module larger, step by step, until another gives what is wanted (standard deviation)."""
    seen = []
    hook = measured.register_forward_hook(lambda module, given, result: seen.append(float(result.std())))
    weight = scaled.weight_g if hasattr(scaled, "weight_g") else scaled.weight
    decoder(z)
    for _ in range(60):
        if seen[-1] >= wanted:
            break
        weight.mul_(1.2)
        decoder(z)
    hook.remove()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
