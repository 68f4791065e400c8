"""Terrains: trained maps from the control space to the latent space."""

from terrain_core.terrain.model import Terrain
from terrain_core.terrain.network import LIMITS, Architecture

__all__ = ["LIMITS", "Architecture", "Terrain"]
