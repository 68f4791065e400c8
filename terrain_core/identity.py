"""Who the plugin is to a host. For ever: a changed id orphans the plugin in every saved project.

The C++ shim, the project readers and the project writers take these names from here.
"""

from __future__ import annotations

from typing import Final

PLUGIN_NAME: Final = "Latent Terrain"
VENDOR: Final = "Latent Terrain"

CLAP_ID: Final = "org.latent-terrain.terrain"

VST3_CLASS_UUID: Final = "f2d6e8c4-5b1a-4c37-9e0d-7a41b8c95e26"
"""The VST3 component's class id as DAWproject's `deviceID` spells it: canonical UUID, 8-4-4-4-12, lower case."""

VST3_SUBCATEGORIES: Final = ("Instrument", "Synth")
VST3_SDK_VERSION: Final = "VST 3.7.4"
"""The newest version of the specification from which the VST3 face uses anything."""

DESCRIPTION: Final = "A point becomes sound, through the latent space of a neural autoencoder"
VERSION: Final = "0.1.0"
"""As in `pyproject.toml`; hosts show it."""
