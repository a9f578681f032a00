"""Neural networks and losses: tensors in, tensors out; no files, no xarray, no widgets."""
