"""Measurements draw themselves: the accessor is registered, and each result gets its picture with units."""

import numpy as np
import plotly.graph_objects as go
import pytest
import xarray as xr

import edviz


@pytest.mark.parametrize(
    ("measure", "x", "y"),
    [
        (lambda traj: traj.histogram(), "ρ (e/Å³)", "probability density per decade of ρ"),
        (lambda traj: traj.structure_factor(), "k (1/Å)", "S(k)"),
        (lambda traj: traj.planar_average("a"), "height (Å)", "average over the planes along a (e/Å³)"),
        (lambda traj: traj.line_profile((0, 0, 0), (1, 1, 1)), "distance along the line (Å)", "ρ (e/Å³)"),
        (lambda traj: traj.integrate_sphere((1, 2, 3), 2.0), "time (fs)", "electrons in the sphere (e)"),
        (lambda traj: traj.integrate_sphere((1, 2, 3), [1, 2]), "radius (Å)", "electrons in the sphere (e)"),
        (lambda traj: traj[:3].difference(traj), "x along a (Å)", "y along b (Å)"),
    ],
)
def test_every_measurement_returns_xarray_with_units_and_draws_itself(lithium, measure, x, y):
    result = measure(lithium[:6])
    assert isinstance(result, (xr.DataArray, xr.Dataset))
    for array in [result] if isinstance(result, xr.DataArray) else result.data_vars.values():
        assert array.attrs["units"]
        assert all(array[dim].attrs.get("units") for dim in array.dims if dim in array.coords and dim not in "abc")
    figure = result.edviz.plot()
    assert isinstance(figure, go.Figure) and len(figure.data) >= 1
    assert figure.layout.xaxis.title.text == x and figure.layout.yaxis.title.text == y
    assert all(trace.hovertemplate or trace.hoverinfo == "skip" for trace in figure.data)


def test_it_is_there_as_soon_as_there_is_a_trajectory():
    assert edviz.DensityTrajectory and hasattr(xr.DataArray(np.zeros(3), dims="x", name="y"), "edviz")
