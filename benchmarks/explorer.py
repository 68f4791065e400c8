"""The explorer's tools in numbers: projections, attributes on sounds that were held out, walks.

The corpus is synthesised by the built-in autoencoder's own generator ("demo" split, which it was not trained on).
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from scipy.stats import spearmanr
from sklearn.manifold import trustworthiness as bare_trustworthiness

from benchmarks._numbers import note
from terrain_core import autoencoders
from terrain_core.autoencoders.training.corpus import make_clip
from terrain_core.errors import InputError
from terrain_core.explorer.attributes import QUANTITIES, Examples, apply, examples_from, learn
from terrain_core.explorer.collection import Collection, encode_collection
from terrain_core.explorer.projection import ProjectionSettings, project, trustworthiness
from terrain_core.explorer.space import LatentSpace
from terrain_core.explorer.walk import WalkSettings, walk
from terrain_core.instrument import Instrument
from terrain_core.one_shots.drums import KINDS, drum
from terrain_core.one_shots.training.drum_data import FIRST_SEED
from terrain_plugin.shipped import DRUM_INSTRUMENT

SOUNDS = 180
HELD_OUT = 18
"""Sounds that attributes are tried on and not learned from."""

FRAMES = 2000
ASKED = {"brightness": (-0.5, 0.5), "noisiness": (-3.0, 3.0), "loudness": (-6.0, 3.0), "pitch": (-5.0, 4.0)}
DRUMS_OF_A_KIND = 6
ASKED_OF_DRUMS = {
    "brightness": (-1.0, -0.5, 0.5, 1.0),
    "noisiness": (-6.0, -3.0, 3.0, 6.0),
    "loudness": (-6.0, -3.0, 1.5, 3.0),
    "pitch": (-6.0, -3.0, 3.0, 6.0),
    "attack": (5.0, 10.0, 20.0, 40.0),
    "duration": (-0.2, -0.1, 0.1, 0.2),
}
ASKED_IN_TIME = {"attack": (50.0, 100.0), "duration": (-0.5, 1.0)}


def corpus(folder: Path) -> Collection:
    for index in range(SOUNDS):
        clip = make_clip("demo", index)
        (folder / clip.family).mkdir(exist_ok=True)
        soundfile.write(folder / clip.family / f"{clip.family} {index}.wav", clip.audio, 44100)
    return encode_collection(sorted(folder.rglob("*.wav")), autoencoders.load("builtin")).collection


def projections(sounds: Collection) -> None:
    frames = sounds.frames()[np.random.default_rng(1).choice(len(sounds.frames()), FRAMES, replace=False)]
    methods = ["pca", "tsne"] + (["umap"] if importlib.util.find_spec("umap") else [])
    if "umap" in methods:
        project(np.random.default_rng(0).normal(size=(50, 8)), ProjectionSettings("umap"))  # it compiles itself first
    print(f"\n{'projection':12} {'':14} {'seconds':>8} {'trustworthiness':>16} {'on a grid':>10} {'hex':>6}")
    for name, vectors in ((f"{len(sounds)} sounds", sounds.portraits()), (f"{FRAMES} frames", frames)):
        for method in methods:
            began = time.perf_counter()
            found = project(vectors, ProjectionSettings(method))  # type: ignore[arg-type]
            taken = time.perf_counter() - began
            values = [trustworthiness(found.vectors, found.places)]
            note(f"{method}, {name}: trustworthiness", values[0], 1.0, "", "perfect", lower_is_better=False)
            for spread in ("grid", "hex"):
                even = project(vectors, ProjectionSettings(method, spread))  # type: ignore[arg-type]
                values.append(trustworthiness(even.vectors, even.places))
            print(f"{method:12} {name:14} {taken:8.2f} {values[0]:16.3f} {values[1]:10.3f} {values[2]:6.3f}")
        chance = np.random.default_rng(2).uniform(size=(len(vectors), 2))
        print(f"{'(by chance)':12} {name:14} {'':8} {bare_trustworthiness(vectors, chance, n_neighbors=10):16.3f}")


def attributes(sounds: Collection) -> None:
    model = autoencoders.load("builtin")
    order = np.random.default_rng(3).permutation(len(sounds))
    tried = [sounds.sounds[k] for k in order[:HELD_OUT]]
    known = Collection([sounds.sounds[k] for k in order[HELD_OUT:]])
    space = LatentSpace.of(known.frames())
    examples = Examples.of(examples_from(known, 400), model)
    print(
        f"\n{'attribute':11} {'unit':10} {'fit':>5} {'asked':>7} {'direction alone':>16} {'corrected':>18} "
        f"{'within 10 %':>12}"
    )
    for name, strengths in (ASKED | ASKED_IN_TIME).items():
        own = name if QUANTITIES[name].in_time else learn(name, examples, space)
        fit = "" if isinstance(own, str) else f"{own.fit:.2f}"
        for asked in strengths:
            raw = np.array([apply(s.latents, own, asked, model, corrections=0).achieved for s in tried])
            best = np.array([apply(s.latents, own, asked, model, corrections=4).achieved for s in tried])
            raw, best = raw[np.isfinite(raw)], best[np.isfinite(best)]
            near = int((np.abs(best - asked) <= 0.1 * abs(asked)).sum())
            print(
                f"{name:11} {QUANTITIES[name].unit:10} {fit:>5} {asked:+7.2f} {np.median(raw):+9.2f} "
                f"({np.quantile(raw, 0.25):+.1f}..{np.quantile(raw, 0.75):+.1f}) {np.median(best):+8.2f} "
                f"({np.quantile(best, 0.25):+.1f}..{np.quantile(best, 0.75):+.1f}) {near:6} of {len(best)}"
            )


def drum_attributes() -> None:
    """The shipped drums: what is asked of held-out hits against what is achieved, and how well one ranks the other."""
    drums = Instrument.load(DRUM_INSTRUMENT)
    model, known = drums.autoencoder, drums.sound_map
    assert known is not None
    space, examples = LatentSpace.of(known.latents), Examples.of(known.latents, model)
    tried = [
        model.encode(drum(kind, FIRST_SEED["test"] + seed)[:, : model.hop])
        for kind in KINDS
        for seed in range(DRUMS_OF_A_KIND)
    ]
    print(f"\n{len(tried)} held-out drums, learned from {len(known)}")
    print(f"{'attribute':11} {'unit':10} {'fit':>5} {'by direction':>13} {'corrected':>10} {'within 10 %':>12}   rank")
    for name, strengths in ASKED_OF_DRUMS.items():
        try:
            own = learn(name, examples, space)
        except InputError as error:
            print(f"{name:11} {QUANTITIES[name].unit:10} {error}")
            continue
        asked = np.repeat(strengths, len(tried))
        ranks, achieved = [], asked
        for corrections in (0, 4):
            achieved = np.array(
                [apply(t, own, a, model, corrections=corrections).achieved for a in strengths for t in tried]
            )
            heard = np.isfinite(achieved)
            ranks.append(float(spearmanr(asked[heard], achieved[heard]).statistic))
        near, count = int((np.abs(achieved - asked) <= 0.1 * np.abs(asked)).sum()), int(heard.sum())
        print(
            f"{name:11} {QUANTITIES[name].unit:10} {own.fit:5.2f} {ranks[0]:13.2f} {ranks[1]:10.2f} "
            f"{near:5} of {count}   asked {', '.join(f'{a:+g}' for a in strengths)}"
        )
        note(f"{name} of drums, asked against achieved", ranks[1], 1.0, "", "perfect ranks", lower_is_better=False)


def walks(sounds: Collection) -> None:
    space = LatentSpace.of(sounds.frames())
    print(f"\n{'walk of 10,000 steps':34} {'inside the 95 % region':>24}")
    for name, settings in (
        ("bounded, momentum 0.6, no pull", WalkSettings(10_000, pull=0.0)),
        ("free, momentum 0.6, no pull", WalkSettings(10_000, pull=0.0, share=None)),
        ("free, momentum 0.6, pull 0.1", WalkSettings(10_000, pull=0.1, share=None)),
        ("free, momentum 0, no pull", WalkSettings(10_000, pull=0.0, momentum=0.0, share=None)),
    ):
        shares = [
            (
                space.distance(walk(space, None, WalkSettings(**(vars(settings) | {"seed": seed})))) <= space.radius()
            ).mean()
            for seed in range(5)
        ]
        print(f"{name:34} {np.mean(shares):24.1%}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        sounds = corpus(Path(folder))
        taken = time.perf_counter() - began
        print(f"{len(sounds)} sounds of 3 s, {len(sounds.frames())} frames, made and encoded in {taken:.0f} s")
        projections(sounds)
        attributes(sounds)
        walks(sounds)
    drum_attributes()


if __name__ == "__main__":
    main()
