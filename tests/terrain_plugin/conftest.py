"""A small instrument and the example project, for everything that plays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from terrain_core import autoencoders
from terrain_core.instrument import Instrument
from terrain_core.sound_map import SoundMap
from terrain_core.terrain import Terrain
from terrain_daws import Project, read
from terrain_plugin.cli import app
from terrain_plugin.shipped import example

Terrained = Callable[..., SimpleNamespace]


@pytest.fixture(scope="session")
def gesture() -> Path:
    """The example project: X, Y and pressure over a tempo change, 28.8 s."""
    return example("gesture.dawproject")


@pytest.fixture(scope="session")
def project(gesture: Path) -> Project:
    return read(gesture)


@pytest.fixture(scope="session")
def instrument() -> Instrument:
    """The built-in autoencoder under a random terrain, with two sounds on its map."""
    autoencoder = autoencoders.load("builtin")
    latents = np.random.default_rng(1).normal(size=(4, autoencoder.latent_size))
    sound_map = SoundMap([[0.1, 0.1], [0.2, 0.1], [0.8, 0.9], [0.7, 0.9]], latents, ["kick", "kick", "snare", "snare"])
    return Instrument(autoencoder, Terrain.create(2, autoencoder.latent_size, seed=1), sound_map)


@pytest.fixture(scope="session")
def instrument_file(instrument: Instrument, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("instrument") / "small.terrain"
    instrument.save(path)
    return path


@pytest.fixture
def terrain() -> Terrained:
    """Runs the command line: `terrain("lanes", file).out`, with `err` and the exit `code`."""

    def run(*arguments: object) -> SimpleNamespace:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return SimpleNamespace(code=result.exit_code, out=result.stdout, err=result.stderr)

    return run
