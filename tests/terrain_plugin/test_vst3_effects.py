"""Real VST3 plugins as effects: the compressor and the (mono) delay of Debian's zam-plugins."""

import numpy as np
import pytest
import soundfile

from terrain_plugin.effects_chain import EffectsChain, parse_effect

FOLDER = "/usr/lib/vst3"
COMPRESSOR = f"{FOLDER}/ZamCompX2.vst3:threshold_db=-40,ratio=10,makeup_db=0"


def tone(seconds: float = 1.0) -> np.ndarray:
    """Half a second at -6 dBFS, then as long at -46 dBFS, stereo."""
    t = np.arange(int(seconds * 44100)) / 44100
    return np.tile(0.5 * np.sin(2 * np.pi * 440 * t) * np.where(t < seconds / 2, 1, 0.01), (2, 1)).astype(np.float32)


def through(effect: str, audio: np.ndarray, pieces: list[int]) -> np.ndarray:
    chain = EffectsChain([parse_effect(effect)], 44100, len(audio))
    out, start = [], 0
    for size in pieces:
        out += chain.process(audio[:, start : start + size])
        start += size
    return np.concatenate([*out, *chain.finish()], axis=1)[:, : audio.shape[1]]


def test_a_compressor_narrows_the_range() -> None:
    audio = tone()
    out = through(COMPRESSOR, audio, [audio.shape[1]])
    loud, soft = slice(10000, 20000), slice(35000, 44000)
    before, after = (20 * np.log10(x[:, loud].std() / x[:, soft].std()) for x in (audio, out))
    assert before == pytest.approx(40.0, abs=0.1)
    # 34 dB over the threshold come out as 3.4: a range of about 10 instead of 40 dB, the knee left aside.
    assert 5.0 < after < 20.0


def test_however_it_is_cut_the_same_comes_out() -> None:
    audio = tone()
    whole = through(COMPRESSOR, audio, [audio.shape[1]])
    np.testing.assert_allclose(through(COMPRESSOR, audio, [1, 5000, 8192, 30907]), whole, atol=1e-6)
    assert np.abs(whole - audio).max() > 0.05


def test_the_command_line_renders_through_it(terrain, gesture, tmp_path) -> None:
    plain, squeezed = tmp_path / "plain.wav", tmp_path / "squeezed.wav"
    assert terrain("render", gesture, "-o", plain, "--to", "2").code == 0
    done = terrain("render", gesture, "-o", squeezed, "--to", "2", "--fx", COMPRESSOR)
    assert done.code == 0
    before, after = soundfile.read(plain)[0], soundfile.read(squeezed)[0]
    assert after.shape[1] == 2
    assert np.abs(after[: len(before), 0] - before).max() > 0.01


def test_a_mono_plugin_is_refused_in_one_line(terrain, gesture, instrument_file, tmp_path) -> None:
    out = tmp_path / "x.wav"
    refused = terrain(
        "render", gesture, "-i", instrument_file, "-o", out, "--to", "2", "--fx", f"{FOLDER}/ZamDelay.vst3"
    )
    assert refused.code == 2
    assert "ZamDelay" in refused.err
    assert "given 2 channels" in " ".join(refused.err.split())
    assert not out.exists()


def test_unknown_parameters_of_a_plugin_list_the_known(terrain, gesture, tmp_path) -> None:
    refused = terrain("render", gesture, "-o", tmp_path / "x.wav", "--fx", f"{FOLDER}/ZamCompX2.vst3:treshold=1")
    assert refused.code == 2
    assert "threshold_db" in refused.err
