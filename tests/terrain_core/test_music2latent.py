"""Music2Latent against its own package, at its only size: slow."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from terrain_core.autoencoders import codecs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("music2latent")
    from music2latent.models import UNet

    torch.manual_seed(0)
    network = UNet()
    with torch.no_grad():
        for weight in network.parameters():
            if not weight.any():  # the package starts them at zero: nothing would be heard
                weight.normal_(0, 0.02)
    place = tmp_path_factory.mktemp("music2latent")
    torch.save({"gen_state_dict": network.state_dict()}, place / "music2latent.pt")
    return place


@pytest.fixture(scope="module")
def codec(folder):
    from terrain_core.autoencoders.codecs import convert_torch

    return convert_torch.load(codecs.find(folder))


def test_sound_and_latents_are_the_packages(codec):
    from music2latent.inference import decode_latent_inference, encode_audio_inference

    trainer = SimpleNamespace(gen=codec.model)
    latents = torch.randn(4, 64, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    drawn = torch.randn(1, 2, 1024, 32)
    torch.manual_seed(5)
    expected = decode_latent_inference(latents.T[None].clone(), trainer, 44100 * 60, 1, device="cpu")
    noise = drawn[0].reshape(2, 1024, 4, 8).permute(2, 0, 1, 3).reshape(4, -1)
    with torch.no_grad():
        got = codec.decode_with(latents, noise)
    assert got.shape == (1, 4 * 4096 + 1536)
    assert np.abs(got[0] - np.reshape(expected, -1)).max() < 1e-5
    assert np.abs(got).max() > 0.01

    audio = 0.2 * torch.randn(1, 4 * 4096 + 1536, generator=torch.Generator().manual_seed(2))
    wanted = encode_audio_inference(audio.numpy(), trainer, 44100 * 60, 1, device="cpu")[0].T
    with torch.no_grad():
        found = codec.model.encoder(codec.heard(audio))[0].T / codec.rescale
    assert found.shape == wanted.shape == (4, 64)
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_the_bundle_plays_what_its_windows_do(folder):
    done = codecs.convert(codecs.find(folder))
    bundle = done.bundle
    assert done.error <= done.limit
    assert 0 < bundle.card.seam_error < 1
    latents = np.random.default_rng(3).standard_normal((5, 64)).astype(np.float32)
    whole = bundle.stream(seed=1).decode(latents)
    stream = bundle.stream(seed=1)
    assert np.array_equal(np.concatenate([stream.decode(latents[:2]), stream.decode(latents[2:])], axis=1), whole)
    assert not np.array_equal(bundle.stream(seed=2).decode(latents), whole)
