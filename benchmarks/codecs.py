"""Codecs of their published sizes with random weights: the streamed graph beside eager torch, and which plays live.

The checkpoints are made under .cache/codec-models, which takes minutes and two gigabytes.
CODECS="encodec_24khz mimi" chooses some.
"""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._numbers import note

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".cache" / "codec-models"
NAMES = ("encodec_24khz", "encodec_48khz", "mimi", "dac_44khz", "stable_audio_open", "music2latent")
CUTS = (1, 2, 3, 5, 8, 64)
BLOCKS = (1, 2, 4, 8)
SECONDS = 3.0
"""Of measuring, for each block size of each model."""


def main() -> None:
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    for name in os.environ.get("CODECS", " ".join(NAMES)).split():
        with torch.no_grad():
            measure(name, checkpoint(name))


def checkpoint(name: str) -> Path:
    """The real architecture at its published size, seeded."""
    import torch

    folder = FOLDER / name
    if folder.exists():
        return folder
    torch.manual_seed(0)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if name == "music2latent":
        from music2latent.models import UNet

        network = UNet()
        for weight in network.parameters():
            if not weight.any():  # the package starts them at zero: nothing would be heard
                weight.normal_(0, 0.02)
        folder.mkdir()
        torch.save({"gen_state_dict": network.state_dict()}, folder / "music2latent.pt")
        return folder
    model: Any
    if name == "stable_audio_open":
        from diffusers import AutoencoderOobleck

        model = AutoencoderOobleck()
    else:
        import transformers as t

        stereo: dict[str, Any] = {"audio_channels": 2, "normalize": True, "use_causal_conv": False}
        stereo |= {"norm_type": "time_group_norm", "sampling_rate": 48000, "chunk_length_s": 1.0, "overlap": 0.01}
        model = {
            "encodec_24khz": lambda: t.EncodecModel(t.EncodecConfig()),
            "encodec_48khz": lambda: t.EncodecModel(t.EncodecConfig(**stereo)),
            "mimi": lambda: t.MimiModel(t.MimiConfig()),
            "dac_44khz": lambda: t.DacModel(t.DacConfig(sampling_rate=44100, downsampling_ratios=[2, 4, 8, 8])),
        }[name]()
    for module in model.modules():
        if type(module).__name__ == "EncodecEuclideanCodebook":
            module.embed.normal_()
        if type(module).__name__ == "MimiEuclideanCodebook":
            module.embed_sum.normal_()
            module._embed = None
        if name == "dac_44khz" and isinstance(module, (torch.nn.Conv1d, torch.nn.ConvTranspose1d)):
            module.reset_parameters()
    model.save_pretrained(folder)
    return folder


def measure(name: str, folder: Path) -> None:
    from terrain_core.autoencoders import codecs
    from terrain_core.autoencoders.codecs import convert_torch

    found = codecs.find(folder)
    assert found is not None
    began = time.perf_counter()
    done = codecs.convert(found)
    converting = time.perf_counter() - began
    bundle, codec = done.bundle, convert_torch.load(found)
    size = sum(map(len, bundle.files.values())) / 1e6
    print(f"\n{name}: {bundle.latent_size} latents x {bundle.hop}, {bundle.channels} channels, {size:.0f} MB")
    print(f"  error {done.error:.1e} (at most {done.limit:.1e}), encoder {done.encoder_error:.1e}, ", end="")
    print(f"seam {bundle.card.seam_error:.1e}, settles after {done.settles} frames, converted in {converting:.0f} s")
    decoder = codec.decoder()
    latents, noise, _ = convert_torch.examples(codec)
    decoder.measure([latents[:2], *([noise[:2]] if len(noise) else [])])
    hop = bundle.hop / bundle.sample_rate
    for frames in BLOCKS[:2] if codec.noise_per_frame else BLOCKS:
        times = in_turn(bundle, decoder, latents[:frames], noise[:frames])
        for kind, values in times.items():
            median, late = np.median(values), np.percentile(values, 99)
            note(f"{name}, {frames} at once, {kind}", float(median), frames * hop, "s", "real time")
            live = "live" if late < frames * hop else "live but for dropouts" if median < frames * hop else "not live"
            print(
                f"  {frames} at once, {kind:5}: {1000 * median / frames:8.2f} ms a frame, "
                f"p99 {1000 * late / frames:8.2f}, {median / frames / hop:6.3f} of real time, "
                f"p99 {late / frames / hop:6.3f}: {live}",
                flush=True,
            )
    print(f"  delay {bundle.card.delay} samples, measured {measured_delay(codec, bundle)}")
    print(f"  cut into {CUTS}: {cut_difference(bundle):.1e} of the loudest, repeats bit-equal: {repeats(bundle)}")
    whole, bare = encoding(bundle)
    print(f"  encoding a corpus: {whole:.2f} of real time, the bare encoder {bare:.2f}", flush=True)


def in_turn(bundle: Any, decoder: Any, latents: Any, noise: Any) -> dict[str, list[float]]:
    """Seconds of this thread's computing for one block, for each way to decode it: what else the machine does at the
    time is not in them, but for the caches that it takes.
    """
    stream, caches = bundle.stream(), decoder.empty()
    given = [noise] if len(noise) else []
    times: dict[str, list[float]] = {"ONNX": [], "eager": []}
    until = time.perf_counter() + SECONDS
    while len(times["ONNX"]) < 6 or (len(times["ONNX"]) < 200 and time.perf_counter() < until):
        began = time.thread_time()
        stream.decode(latents.numpy())
        between = time.thread_time()
        _, *caches = decoder(latents, *given, *caches)
        times["ONNX"].append(between - began)
        times["eager"].append(time.thread_time() - between)
    return {kind: values[2:] for kind, values in times.items()}


def rows(bundle: Any, frames: int) -> Any:
    chance = np.random.default_rng(1)
    z = bundle.latent_mean + bundle.latent_std * chance.standard_normal((frames, bundle.latent_size))
    return z.astype(np.float32)


def measured_delay(codec: Any, bundle: Any) -> str:
    """Where the stream and the original fit best: samples."""
    import torch

    frames = codec.checked_frames if codec.context else 24
    latents = rows(bundle, frames)
    drawn = torch.from_numpy(bundle.stream()._noise(frames)) if codec.noise_per_frame else torch.zeros(0)
    original = codec.decode_with(torch.from_numpy(latents), drawn).numpy()[0]
    original -= original.mean()
    played = bundle.decode(latents)[0]
    first = (codec.settles or 0) * bundle.hop
    played[first:] -= played[first:].mean()
    played[:first] = 0
    size = 1 << int(np.ceil(np.log2(len(played) + len(original))))
    fit = np.fft.irfft(np.fft.rfft(played, size) * np.conj(np.fft.rfft(original, size)))
    at = int(np.argmax(fit))
    return str(at if at < size // 2 else at - size)


def cut_difference(bundle: Any) -> float:
    """The largest difference between ways of cutting 64 frames, of the loudest sample."""
    total = 64 if not bundle.card.noise_per_frame else 8  # Music2Latent takes seconds a frame
    latents, sounds = rows(bundle, total), []
    for frames in CUTS:
        stream = bundle.stream()
        sounds.append(np.concatenate([stream.decode(latents[k : k + frames]) for k in range(0, total, frames)], axis=1))
    return max(float(np.abs(sound - sounds[0]).max()) for sound in sounds) / float(np.abs(sounds[0]).max())


def repeats(bundle: Any) -> bool:
    latents = rows(bundle, 8)
    return all(
        np.array_equal(bundle.stream(seed=7).decode(latents), bundle.stream(seed=7).decode(latents)) for _ in range(3)
    )


def encoding(bundle: Any) -> tuple[float, float]:
    """Seconds of computing for a second of sound: files through `encode_files`, one at a time, and the graph alone."""
    import tempfile

    import soundfile

    from terrain_core.trajectories import EncodeSettings, LatentCache, encode_files

    chance, length = np.random.default_rng(2), 4
    audio = (0.1 * chance.standard_normal((2, length * 44100))).astype(np.float32)
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place) / f"{i}.wav" for i in range(2)]
        for i, file in enumerate(files):
            soundfile.write(file, audio.T * (1 - 0.1 * i), 44100)
        bundle.encode(np.zeros((bundle.channels, bundle.hop), np.float32))
        began = time.thread_time()
        encode_files(files, bundle, None, EncodeSettings(LatentCache(Path(place) / "cache")))
        whole = (time.thread_time() - began) / (2 * length)
    bare_audio = (0.1 * chance.standard_normal((bundle.channels, length * bundle.sample_rate))).astype(np.float32)
    began = time.thread_time()
    bundle.encode(bare_audio)
    return whole, (time.thread_time() - began) / length


if __name__ == "__main__":
    main()
