"""What the explorer's commands have in common: words for sounds, and files of sound, instruments or lanes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from terrain_core.errors import FileError, InputError

if TYPE_CHECKING:
    from terrain_core.autoencoders.protocol import Audio, Autoencoder, Latents
    from terrain_core.explorer.explorer import Explorer
    from terrain_core.instrument import Instrument

SOUND: Final = (".wav", ".flac", ".ogg", ".mp3")
LANES: Final = (".csv", ".mid", ".rpp", ".dawproject", ".ardour", ".als")
INSTRUMENT = ".terrain"


@dataclass(frozen=True)
class Named:
    """What a word on the command line stands for: latents, and a place on the map if it has one."""

    name: str
    latents: Latents
    place: tuple[float, float] | None = None


def opened(file: Path) -> tuple[Instrument, Explorer]:
    """An instrument and its sounds."""
    from terrain_core.explorer.explorer import explorer_of
    from terrain_core.instrument import Instrument
    from terrain_plugin.cli.console import check_suffix

    check_suffix(file, INSTRUMENT)
    instrument = Instrument.load(file)
    try:
        return instrument, explorer_of(instrument)
    except InputError as error:
        raise FileError(file, str(error)) from error


def named(word: str, instrument: Instrument, explorer: Explorer) -> Named:
    """A sound of the instrument, one of its presets, a sound file, a point "X,Y" of its map, or "mean".

    Raises:
        InputError: none of these.
    """
    if word in explorer.collection.names:
        latents = explorer.collection.find(word).latents
        if explorer.projection is None:
            return Named(word, latents)
        x, y = explorer.place_of(word)
        return Named(word, latents, (float(x), float(y)))
    if word in explorer.presets.names:
        preset = explorer.presets.get(word)
        if preset.latents is None:
            raise InputError(f"the preset {word!r} sets parameters only: expected one with a sound")
        return Named(word, preset.latents, preset.place)
    if Path(word).is_file():
        from terrain_core.explorer.collection import encode_sound
        from terrain_core.explorer.reconstruction import place_of

        sound = encode_sound(word, instrument.autoencoder)
        place = place_of(sound, explorer.projection) if explorer.projection is not None else None
        return Named(sound.name, sound.latents, None if place is None else (float(place[0]), float(place[1])))
    if word == "mean":
        return Named("mean", explorer.space.mean.astype(np.float32)[np.newaxis])
    point = parse_point(word)
    if point is not None:
        known = instrument.sound_map or explorer.sound_map()
        return Named(word, known.blend(np.array([point]), np.array([8])), point)
    explorer.collection.index(word)  # raises, and says what is called alike
    raise AssertionError("index found what was not there")


def parse_point(word: str) -> tuple[float, float] | None:
    """`0.2,0.8` -> (0.2, 0.8); None if it is no pair of numbers."""
    parts = word.split(",")
    if len(parts) != 2:
        return None
    try:
        x, y = (float(part) for part in parts)
    except ValueError:
        return None
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise InputError(f"the point {word!r} is off the map: expected X and Y in 0..1")
    return x, y


def heard(sounds: Sequence[Latents], instrument: Instrument, *, gap: float, held: float, seed: int) -> Audio:
    """Sounds one after another: (channels, samples).

    Args:
        gap: seconds of silence between them.
        held: seconds for which a single latent of a streaming autoencoder is held.
    """
    from terrain_core.explorer.descriptors import decoded

    autoencoder = instrument.autoencoder
    silence = np.zeros((autoencoder.channels, round(gap * autoencoder.sample_rate)), np.float32)
    parts = []
    for latents in sounds:
        parts += [decoded(autoencoder, held_for(latents, held, autoencoder), seed=seed), silence]
    return np.concatenate(parts[:-1], axis=1)


def held_for(latents: Latents, seconds: float, autoencoder: Autoencoder) -> Latents:
    """A single latent (1, D) of a streaming autoencoder for so long; a hit, and what has more frames, as it is."""
    from terrain_core.autoencoders.one_shot import OneShotAutoencoder

    if len(latents) != 1 or isinstance(autoencoder, OneShotAutoencoder):
        return latents
    return np.repeat(latents, max(1, round(seconds * autoencoder.sample_rate / autoencoder.hop)), axis=0)


def write_sound(audio: Audio, rate: int, out: Path) -> dict[str, Any]:
    """Write (channels, samples) in the format of the suffix; says how long and how loud it is."""
    import soundfile

    from terrain_core.safe_write import replacing

    peak = float(np.abs(audio).max(initial=0.0))
    with replacing(out) as beside:
        try:
            soundfile.write(beside, np.clip(audio.T, -1.0, 1.0), rate)
        except soundfile.LibsndfileError as error:
            raise FileError(out, f"cannot be written ({error.error_string})") from error
    decibels = 20 * np.log10(peak) if peak > 0 else -np.inf
    return {"out": str(out), "seconds": audio.shape[1] / rate, "peak_dbfs": float(decibels)}


def write_sounds(
    sounds: Sequence[Latents],
    names: Sequence[str],
    instrument: Instrument,
    out: Path,
    *,
    gap: float = 0.1,
    held: float = 1.0,
    seed: int = 0,
    each: Path | None = None,
) -> dict[str, Any]:
    """To a sound file one after another, or to an instrument in which X is their time and Y leads from one to the next.

    Args:
        each: a folder that also gets a sound file of each.
    """
    from terrain_core.explorer.playable import instrument_of
    from terrain_core.notebook import instrument_png

    rate = instrument.autoencoder.sample_rate
    if each is not None:
        each.mkdir(parents=True, exist_ok=True)
        for number, latents in enumerate(sounds, start=1):
            write_sound(
                heard([latents], instrument, gap=0, held=held, seed=seed), rate, each / f"{out.stem} {number:02}.wav"
            )
    if out.suffix.lower() == INSTRUMENT:
        made = instrument_of(sounds, names, instrument.autoencoder, seed=seed)
        made.save(out, preview=instrument_png)
        return {"out": str(out), "sounds": len(sounds), "frames": int(sum(len(rows) for rows in sounds))}
    facts = write_sound(heard(sounds, instrument, gap=gap, held=held, seed=seed), rate, out)
    return facts | {"sounds": len(sounds)}


def write_lanes(
    places: NDArray[np.float64], beats: NDArray[np.float64], out: Path, *, tempo: float, instrument: Path
) -> dict[str, Any]:
    """A way over the map, (n, 2) at beats (n,), as lanes of X and Y: a table, or a project of a DAW with the plugin and
    its source set to the map.
    """
    from terrain_core.lanes import Lane
    from terrain_core.parameters import Source
    from terrain_core.safe_write import replacing
    from terrain_core.tempo import TempoMap
    from terrain_core.vst3_preset import state_for
    from terrain_daws import PluginInstance, Project, write
    from terrain_daws.insertions import DEFAULT_TRACK

    facts = {"out": str(out), "points": len(places), "beats": float(beats[-1])}
    if out.suffix.lower() == ".csv":
        rows = [f"{beat:.9g},{x:.9g},{y:.9g}" for beat, (x, y) in zip(beats, places, strict=True)]
        with replacing(out) as beside:
            beside.write_text("\n".join(["beat,x,y", *rows]) + "\n", encoding="utf-8")
        return facts
    lanes = [Lane(beats, places[:, k], key=key, name=key.upper()) for k, key in enumerate("xy")]
    state = state_for(instrument.resolve(), {"source": float(Source.MAP)})
    project = Project("lanes", out, tempo_map=TempoMap.constant(tempo), lanes=lanes)
    project.instances = [PluginInstance(DEFAULT_TRACK, lanes=lanes, state=state)]
    return facts | {"not_written": write(project, out)}


def kind_of(out: Path) -> str:
    """ "sound", "instrument" or "lanes", by the suffix.

    Raises:
        FileError: none of these.
    """
    suffix = out.suffix.lower()
    for kind, suffixes in (("sound", SOUND), ("instrument", (INSTRUMENT,)), ("lanes", LANES)):
        if suffix in suffixes:
            return kind
    raise FileError(out, f"should end in {', '.join((*SOUND, INSTRUMENT))} or, for lanes, {', '.join(LANES)}")


def say(facts: dict[str, Any], as_json: bool) -> None:
    """What was written, in a line or as JSON."""
    from terrain_plugin.cli.console import print_json

    if as_json:
        print_json(facts)
        return
    parts = []
    if "sounds" in facts:
        parts.append(f"{facts['sounds']} sound" + "s" * (facts["sounds"] != 1))
    if "seconds" in facts:
        parts.append(f"{facts['seconds']:.2f} s, peak {facts['peak_dbfs']:.1f} dBFS")
    if "frames" in facts:
        parts.append(f"{facts['frames']} frames")
    if "points" in facts:
        parts.append(f"{facts['points']} points over {facts['beats']:g} beats")
    print(f"{facts['out']}: {', '.join(parts)}")
    for line in facts.get("not_written", ()):
        print(f"not written: {line}")
