"""Toposcope turns focal stacks into depth."""

__version__ = "0.1.0"
