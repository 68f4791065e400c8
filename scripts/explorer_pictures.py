"""Make the pictures of docs/sound_map.md: docs/media/map_*.png, from a corpus of the built-in generator's."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import soundfile

from terrain_core import autoencoders
from terrain_core.autoencoders.training.corpus import make_clip
from terrain_core.explorer import pictures
from terrain_core.explorer.attributes import Examples, apply, examples_from, learn
from terrain_core.explorer.collection import Collection, encode_collection
from terrain_core.explorer.explorer import Explorer
from terrain_core.explorer.morph import Morph, MorphSettings
from terrain_core.explorer.projection import ProjectionSettings
from terrain_core.explorer.reconstruction import reconstruct
from terrain_core.explorer.sliders import Sliders
from terrain_core.explorer.steering import Pin, steer
from terrain_core.explorer.variations import VariationSettings, vary
from terrain_core.explorer.walk import WalkSettings, walk
from terrain_core.figures import save_figure
from terrain_core.sound_map import Blending
from terrain_core.terrain import Terrain
from terrain_core.terrain.fit import FitSettings, fit

OUT = Path(__file__).parents[1] / "docs" / "media"
SOUNDS = 135
SECONDS = 3.0
WAYS = {
    "snap": (1, Blending()),
    "power 1": (8, Blending(power=1.0)),
    "power 2": (8, Blending()),
    "power 6": (8, Blending(power=6.0)),
    "power 2, radius 0.05": (8, Blending(radius=0.05)),
    "natural neighbours": (8, Blending("natural")),
}


def main() -> None:
    model = autoencoders.load("builtin")
    with tempfile.TemporaryDirectory() as folder:
        for index in range(SOUNDS):
            clip = make_clip("demo", index)
            (Path(folder) / clip.family).mkdir(exist_ok=True)
            soundfile.write(Path(folder) / clip.family / f"{clip.family} {index // 9}.wav", clip.audio, 44100)
        sounds = encode_collection(sorted(Path(folder).rglob("*.wav")), model).collection
        explorer = Explorer(sounds)
        explorer.project(ProjectionSettings("tsne"))
        draw("scatter", pictures.scatter_figure(explorer, density=True))
        draw("thumbnails", pictures.scatter_figure(explorer, thumbnails=model))
        draw("blend", pictures.blending_figure(explorer.sound_map(), WAYS))
        book = {name: explorer.place_of(name) for name in ("bars 0", "voices 1", "drums 3")}
        soft, verse = book["bars 0"], book["voices 1"]
        between = np.linspace(soft, verse, 9)
        marked = {"soft": tuple(soft), "verse": tuple(verse), "0.3": tuple(0.7 * soft + 0.3 * verse)}
        marked["pad hit"] = tuple(book["drums 3"])
        draw("presets", pictures.scatter_figure(explorer, path=between, marked=marked, title="Four presets, a morph"))
        explorer.project(ProjectionSettings("tsne", "hex"))
        draw("hex", pictures.scatter_figure(explorer))
        space = explorer.space
        bell, voice = sounds.find("bars 0"), sounds.find("voices 1")
        way = Morph(bell.latents, voice.latents, MorphSettings(7, "spherical", align="dtw"), space.mean)
        draw("morph", pictures.morph_figure(way.sequence(), model, "bars 0 to voices 1, spherical, by dtw"))
        steps = walk(space, bell.latent, WalkSettings(400))
        draw("walk", pictures.walk_figure(steps, space, title="400 steps"))
        varied = vary(bell.latents, space, VariationSettings(6, 0.6, order="spread"))
        draw("vary", pictures.morph_figure([v.latents for v in varied], model, "variations of bars 0, spread"))
        found = reconstruct(sounds.find("plucked 3").path, model, sounds, explorer.projection)
        draw("reconstruct", pictures.reconstruction_figure(found, model.sample_rate))
    board = Sliders.of(space, voice.latent, principal=True).lock([0, 3]).random(1.0, 4)
    draw("sliders", pictures.sliders_figure(board, "voices 1 by chance, two directions locked"))
    draw("attributes", asked_and_achieved(sounds, explorer))
    pins = [
        Pin(x, y, sounds.find(name).latent, name)
        for name, x, y in (("bars 0", 0.2, 0.2), ("voices 1", 0.8, 0.3), ("pads 2", 0.5, 0.8), ("noises 1", 0.15, 0.75))
    ]
    terrains = [steer(pins[:count]).terrain for count in (2, 3, 4)]
    draw("steering", pictures.steering_figure(terrains, [pins[:count] for count in (2, 3, 4)]))
    mountains = Terrain.create(2, sounds.latent_size, gauss_scale=4.0, seed=1)
    places = np.random.default_rng(1).uniform(size=(len(sounds), 2))
    fit(mountains, places, sounds.held(), FitSettings(epochs=0))
    kept = steer(pins, base=mountains).terrain
    draw("kept", pictures.steering_figure([mountains, kept], [[], pins]))


def asked_and_achieved(sounds: Collection, explorer: Explorer) -> object:
    model = autoencoders.load("builtin")
    known, tried = Collection(sounds.sounds[::2]), sounds.sounds[1::16]
    examples = Examples.of(examples_from(known, 300), model)
    asked = {"brightness": [-0.5, 0.5], "noisiness": [-3, 3], "loudness": [-6, 3], "pitch": [-5, 4]}
    rows, units = {}, {}
    for name, strengths in asked.items():
        attribute = learn(name, examples, explorer.space)
        pairs = [(a, apply(s.latents, attribute, a, model, corrections=4).achieved) for a in strengths for s in tried]
        rows[name], units[name] = [pair for pair in pairs if np.isfinite(pair[1])], attribute.unit
    return pictures.attribute_figure(rows, units)


def draw(name: str, figure: object) -> None:
    save_figure(figure, OUT / f"map_{name}.png")  # type: ignore[arg-type]
    print(OUT / f"map_{name}.png")


if __name__ == "__main__":
    main()
