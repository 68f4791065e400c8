"""The engine of Latent Terrain: a point becomes a latent, a latent becomes sound. Knows no host and no DAW file.

docs/architecture.md is the map of its rooms.
"""
