"""Public data sets of depth from focus, by their published layouts and splits.

>>> samples = open_data_set("ddff12", "data/ddff12", "dfv-val")                # doctest: +SKIP
>>> sample = samples[0]                                                        # doctest: +SKIP
>>> sample.frames.shape, sample.positions[[0, -1]], sample.unit                # doctest: +SKIP
((10, 383, 552, 3), array([0.28247513, 0.0201768 ]), 'px')
>>> stack = to_training_stack(sample)                                          # doctest: +SKIP

Reading HDF5 and OpenEXR files needs the extra ``toposcope[datasets]``.
"""

from dffnets.data.convert import focus_coordinates, to_training_stack
from dffnets.data.registry import CARDS, DataSetCard, open_data_set
from dffnets.data.sample import DataError, Sample, Samples

__all__ = [
    "CARDS",
    "DataError",
    "DataSetCard",
    "Sample",
    "Samples",
    "focus_coordinates",
    "open_data_set",
    "to_training_stack",
]
