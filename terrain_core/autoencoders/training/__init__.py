"""How the built-in autoencoder is made: corpus, features, training, measurement, export. Needs the extra `train`.

`python -m terrain_core.autoencoders.training --help` lists the steps; `make train` runs them all.
"""
