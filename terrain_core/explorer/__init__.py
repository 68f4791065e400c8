"""Finding sounds in a latent space: a corpus on a map, morphs, walks, variations, attributes, presets, pins.

    collection      the sounds, encoded, and where they came from
    space           what the latents of a corpus are like: mean, covariance, the region that holds most of them
    projection      latents -> places on a map, evenly spread if wanted; new sounds without moving the old
    morph, walk, variations, sliders    ways from known latents to others
    descriptors, attributes             what is measured of a sound, and directions that change it
    reconstruction, presets, steering   a file on the map; what a player keeps; a terrain through a few pins
    explorer        all of it that an instrument carries

A sound is a trajectory (frames, D), as everywhere; of a one-shot autoencoder it is one frame, (1, D).
"""
