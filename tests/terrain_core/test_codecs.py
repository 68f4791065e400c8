"""Codecs as bundles: the sound of the original, however a stream is cut, late by what the card says."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from terrain_core import autoencoders
from terrain_core.autoencoders import codecs
from terrain_core.autoencoders.nn_tilde.bundle import save
from terrain_core.errors import FileError, InputError
from terrain_plugin.cli import app
from tests.codec_models import KINDS, make

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch's exporter and of the packages, about themselves
EXACT = ("encodec24", "dac", "mimi", "oobleck")
"""Those that can be streamed with the original's own sound."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def checkpoints(folder):
    return {kind: make(kind, folder) for kind in KINDS}


@pytest.fixture(scope="module")
def converted(checkpoints):
    return {kind: codecs.convert(codecs.find(path)) for kind, path in checkpoints.items()}


def original(kind, path):
    """The package's own model, untouched but for EnCodec's padding: a stream does not know its mirror image."""
    if kind == "oobleck":
        from diffusers import AutoencoderOobleck

        return AutoencoderOobleck.from_pretrained(path)
    import transformers

    name = {"dac": "DacModel", "mimi": "MimiModel"}.get(kind, "EncodecModel")
    model = getattr(transformers, name).from_pretrained(path).eval()
    for module in model.modules():
        if type(module).__name__ == "EncodecConv1d":
            module.pad_mode = "constant"
    return model


def latents_for(bundle, frames, rng):
    rows = bundle.latent_mean + bundle.latent_std * rng.standard_normal((frames, bundle.latent_size))
    return rows.astype(np.float32)


def heard(kind, model, latents):
    """What the package makes of a whole trajectory (frames, D): (channels, samples)."""
    z = torch.from_numpy(latents)
    with torch.no_grad():
        if kind == "mimi":
            quantizer = model.quantizer
            parts = quantizer.semantic_residual_vector_quantizer.output_proj(
                z[:, :16].T[None]
            ) + quantizer.acoustic_residual_vector_quantizer.output_proj(z[:, 16:].T[None])
            return model.decoder(parts).audio_values[0].numpy()
        if kind == "dac":
            return model.decode(z.T[None]).audio_values.reshape(1, -1).numpy()
        found = model.decoder(z.T[None])
        return found[0].numpy()


@pytest.mark.parametrize("kind", EXACT)
def test_the_stream_is_the_originals_sound_late_by_the_delay(kind, checkpoints, converted, rng):
    done = converted[kind]
    bundle, frames = done.bundle, 90
    latents = latents_for(bundle, frames, rng)
    expected = heard(kind, original(kind, checkpoints[kind]), latents)
    played = bundle.decode(latents)[:, bundle.card.delay :]
    first, last = done.settles * bundle.hop, frames * bundle.hop - max(bundle.card.delay, 16 * bundle.hop)
    assert last - first > 20 * bundle.hop
    peak = np.abs(expected).max()
    # Of their own kinds of rounding: float32 in two orders.
    assert np.abs(played[:, first:last] - expected[:, first:last]).max() < 5e-6 * peak
    assert np.abs(expected[:, first:last]).max() > 0.1 * peak


@pytest.mark.parametrize("kind", KINDS)
def test_every_cut_gives_the_same_and_every_repeat_the_same_bits(kind, converted, rng):
    bundle = converted[kind].bundle
    latents = latents_for(bundle, 64, rng)
    whole = bundle.decode(latents, seed=3)
    assert np.array_equal(whole, bundle.decode(latents, seed=3))
    peak = np.abs(whole).max()
    for size in (1, 2, 3, 5, 8, 64):
        stream = bundle.stream(seed=3)
        parts = np.concatenate([stream.decode(latents[k : k + size]) for k in range(0, 64, size)], axis=1)
        assert np.abs(parts - whole).max() < 5e-6 * peak


def test_a_loudness_that_changes_is_heard_when_its_frame_is(converted):
    """EnCodec at 48 kHz says in one more latent how loud the sound was."""
    bundle = converted["encodec48"].bundle
    assert bundle.latent_size == 17
    rng = np.random.default_rng(5)
    latents = np.tile(latents_for(bundle, 1, rng), (200, 1))
    latents[:, -1] = 0.1
    steady = bundle.decode(latents)
    latents[150:, -1] = 0.2
    louder = bundle.decode(latents)
    edge = 150 * bundle.hop + bundle.card.delay
    assert np.array_equal(steady[:, :edge], louder[:, :edge])
    assert np.allclose(louder[:, edge:], 2 * steady[:, edge:], rtol=1e-5, atol=1e-7)
    assert np.abs(steady[:, edge:]).max() > 1e-4


def test_a_steady_sound_has_no_seam(checkpoints, converted):
    """What the running second of EnCodec's normalisation costs: nothing where nothing changes, and it says so else."""
    bundle = converted["encodec48"].bundle
    assert 1e-4 < bundle.card.seam_error < 0.5
    rng = np.random.default_rng(5)
    latents = np.tile(latents_for(bundle, 1, rng), (600, 1))
    expected = heard("encodec48", original("encodec48", checkpoints["encodec48"]), latents[:, :-1])
    latents[:, -1] = 1.0
    played = bundle.decode(latents)[:, bundle.card.delay :]
    middle = slice(300 * bundle.hop, 500 * bundle.hop)
    # The original's edges, 600 frames apart, are in its statistics.
    assert np.abs(played[:, middle] - expected[:, middle]).max() < 0.01 * np.abs(expected[:, middle]).max()


@pytest.mark.parametrize("kind", EXACT)
def test_sounds_are_encoded_as_the_original_does(kind, checkpoints, converted, rng):
    bundle, model = converted[kind].bundle, original(kind, checkpoints[kind])
    audio = (0.2 * rng.standard_normal((bundle.channels, 90 * bundle.hop))).astype(np.float32)
    with torch.no_grad():
        given = torch.from_numpy(audio)[None]
        if kind == "mimi":
            embedded = model.encoder(given).latents
            quantizer = model.quantizer
            parts = (quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer)
            expected = torch.cat([part.input_proj(embedded) for part in parts], 1)[0].T.numpy()
        elif kind == "oobleck":
            expected = model.encode(given).latent_dist.mode()[0].T.numpy()
        else:
            expected = model.encoder(given)[0].T.numpy()
    got = bundle.encode(audio)
    assert got.shape == expected.shape == (90, bundle.latent_size)
    inside = slice(32, 58)  # beyond what the edges reach
    assert np.abs(got[inside] - expected[inside]).max() < 1e-4 * np.abs(expected).max()
    for size in (1, 7 * bundle.hop + 3):
        if size > 1:  # in pieces of no whole number of hops
            stream = bundle.stream_encoder()
            pieces = [stream.encode(audio[:, k : k + size]) for k in range(0, audio.shape[1], size)]
            streamed = np.concatenate(pieces)
            assert np.abs(streamed - got[: len(streamed)]).max() < 1e-4 * np.abs(expected).max()
            assert len(streamed) == 90 - bundle.card.encoder_delay // bundle.hop


slow = pytest.mark.slow


@pytest.mark.parametrize("kind", ["encodec24", pytest.param("dac", marks=slow), pytest.param("mimi", marks=slow)])
def test_snapped_latents_are_the_originals_codes(kind, checkpoints, converted, rng):
    bundle = codecs.convert(codecs.find(checkpoints[kind]), codebooks=4).bundle
    model = original(kind, checkpoints[kind])
    latents = latents_for(bundle, 90, rng)
    with torch.no_grad():
        z = torch.from_numpy(latents).T[None]
        if kind == "encodec24":
            codes = model.quantizer.encode(z)[:4]
            embedded = model.quantizer.decode(codes)
            expected = model.decoder(embedded)[0].numpy()
        elif kind == "dac":
            expected = model.decode(model.quantizer(z, n_quantizers=4)[0]).audio_values.reshape(1, -1).numpy()
        else:
            quantizer = model.quantizer
            parts = []
            for rvq, half, count in (
                (quantizer.semantic_residual_vector_quantizer, z[:, :16], 1),
                (quantizer.acoustic_residual_vector_quantizer, z[:, 16:], 3),
            ):
                total = torch.zeros_like(half)
                for layer in rvq.layers[:count]:
                    total = total + layer.decode(layer.encode(half - total))
                parts.append(rvq.output_proj(total))
            expected = model.decoder(parts[0] + parts[1]).audio_values[0].numpy()
    stream = bundle.stream()
    cut = [stream.decode(latents[k : k + 3]) for k in range(0, 90, 3)]
    assert np.array_equal(np.concatenate(cut, axis=1), bundle.stream().decode(latents))  # no code changes by a cut
    played = bundle.decode(latents)[:, bundle.card.delay :]
    inside = slice(33 * bundle.hop, 60 * bundle.hop)
    assert np.abs(played[:, inside] - expected[:, inside]).max() < 5e-6 * np.abs(expected).max()
    plain = converted[kind].bundle.decode(latents)[:, bundle.card.delay :]
    assert np.abs(played - plain).max() > 0.01 * np.abs(plain).max()


def test_a_graph_that_sounds_otherwise_is_not_written(checkpoints, monkeypatch):
    from terrain_core.autoencoders.codecs import walk_torch

    def forgetful(self, x, samples):
        return torch.cat([0.9 * self.take(1, x.shape[1], samples), x], 2) if samples else x

    def remembered(self, x, samples):
        if not samples:
            return x
        self.put(torch.cat([self.take(1, x.shape[1], samples), x], 2)[..., -samples:])
        self.shapes.pop()
        return forgetful(self, x, samples)

    monkeypatch.setattr(walk_torch.Walk, "remembered", remembered)
    with pytest.raises(FileError, match="graph differs from the original"):
        codecs.convert(codecs.find(checkpoints["encodec24"]))


def test_what_is_wrong_is_said_in_a_line(checkpoints, tmp_path):
    assert codecs.find(tmp_path) is None
    with pytest.raises(InputError, match="has 9 codebooks, 10 were asked for"):
        codecs.convert(codecs.find(checkpoints["dac"]), codebooks=10)
    with pytest.raises(InputError, match="no codebooks"):
        codecs.convert(codecs.find(checkpoints["oobleck"]), codebooks=1)
    broken = shutil.copytree(checkpoints["dac"], tmp_path / "dac")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(FileError, match="is not a whole dac checkpoint"):
        codecs.convert(codecs.find(broken))
    (broken / "config.json").write_text("{")
    with pytest.raises(FileError, match=r"config\.json: cannot be read as JSON"):
        codecs.find(broken)


@pytest.mark.parametrize(
    ("text", "licence", "forbidden"),
    [
        ("---\nlicense: cc-by-nc-4.0\n---\n", "cc-by-nc-4.0", "commercial use"),
        (
            "---\nlicense: other\nlicense_name: stable-audio-community\n---\n",
            "stable-audio-community",
            "yearly revenue",
        ),
        ("---\nlicense: mit\n---\n", "mit", "nothing but"),
        ("no header\n", "", ""),
    ],
)
def test_licences(tmp_path, text, licence, forbidden):
    (tmp_path / "README.md").write_text(text)
    assert codecs.licence_of(tmp_path) == licence
    assert forbidden in codecs.forbids(licence)
    assert bool(forbidden) == bool(codecs.forbids(licence))


def test_the_commands(checkpoints, tmp_path, monkeypatch):
    source = shutil.copytree(checkpoints["mimi"], tmp_path / "mimi")
    (source / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Mimi\n")
    out = tmp_path / "mimi.zip"

    def run(*arguments):
        result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout[result.stdout.index("{") :])

    assert "terrain convert" in run("info", source)["to_play"]
    made = run("convert", source, "-o", out)
    shown = run("info", out)
    for facts in (made, shown):
        assert (facts["family"], facts["licence"], facts["seam_error"]) == ("Mimi", "cc-by-4.0", 0.0)
        assert (facts["ratio"], facts["sample_rate"], facts["latent_size"]) == (48, 24000, 32)
    assert made["error"] <= made["error_allowed"]
    assert shown["of_real_time_1_at_once"] > 0
    assert isinstance(autoencoders.load(out), autoencoders.OnnxAutoencoder)
    result = CliRunner().invoke(app, ["convert", str(tmp_path), "-o", str(tmp_path / "x.zip")])
    assert result.exit_code == 2
    assert not (tmp_path / "x.zip").exists()


def test_a_bundle_travels(converted, tmp_path, rng):
    bundle = converted["dac"].bundle
    latents = latents_for(bundle, 12, rng)
    again = autoencoders.load(save(bundle, tmp_path / "dac.zip"))
    assert again.sha256 == bundle.sha256
    assert np.array_equal(again.decode(latents), bundle.decode(latents))
