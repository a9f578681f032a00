"""Measurements of density trajectories, generated or not: xarray in, xarray out, a few frames in memory at a time."""
