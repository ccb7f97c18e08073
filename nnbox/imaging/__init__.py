"""Arrays in, arrays out: reading and writing images, crop, resample, normalise, components."""
