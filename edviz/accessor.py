"""``result.edviz.plot()``: every measurement that edviz returns can draw itself.

The measurements are plain xarray objects, so the way to draw them is registered with xarray (its own mechanism,
`xarray.register_dataarray_accessor`). Nothing is drawn here: `edviz.plotting.results` picks the picture by the result's
name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["ResultAccessor"]


@xr.register_dataarray_accessor("edviz")
@xr.register_dataset_accessor("edviz")
class ResultAccessor:
    """What a measurement can do beside being an xarray object."""

    def __init__(self, result: xr.DataArray | xr.Dataset) -> None:
        self._result = result

    def plot(self, **options: Any) -> go.Figure:
        """Draw the result with plotly: see `edviz.plotting.results.plot_result`."""
        from edviz.plotting.results import plot_result

        return plot_result(self._result, **options)
