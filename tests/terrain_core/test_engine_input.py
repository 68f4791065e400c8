"""Source Input with the built-in autoencoder: what is played in is heard again, resynthesised, as late as is stated."""

import numpy as np

from terrain_core import autoencoders
from terrain_core.autoencoders import features
from terrain_core.autoencoders.training.corpus import make_clip
from terrain_core.engine import Block, Engine
from terrain_core.instrument import Instrument
from terrain_core.parameters import Source


def test_a_phrase_played_in_comes_out_in_tune_and_in_time() -> None:
    clip = make_clip("test", 1)  # bowed
    builtin = autoencoders.load("builtin")
    engine = Engine(Instrument(builtin, None), 44100, 512)
    engine.set_parameters({"source": float(Source.INPUT)})
    out = [engine.process(Block(512, audio=clip.audio[None, i : i + 512])) for i in range(0, 256 * 512, 512)]
    heard = np.concatenate(out, axis=1)[0]
    delay = engine.latency + engine.input_delay_frames * builtin.hop
    assert 0 < delay < 8192
    aligned = heard[delay:]
    original = features.extract(clip.audio[: len(aligned)])
    again = features.extract(aligned)
    voiced = original[8:-8, features.VOICING_COLUMN] > 0.9
    assert voiced.sum() > 40
    cents = 1200 * np.abs(again - original)[8:-8, features.PITCH_COLUMN][voiced]
    assert np.median(cents) < 15.0
    assert abs(20 * np.log10(aligned.std() / clip.audio[: len(aligned)].std())) < 4.0
