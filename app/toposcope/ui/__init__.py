"""The window: a thin Qt layer over `toposcope.core`."""
