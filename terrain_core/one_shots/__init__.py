"""One-shots: whole short sounds, each of them one latent, played as hits by notes (docs/one_shots.md)."""
