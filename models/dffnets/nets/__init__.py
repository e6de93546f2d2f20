"""The networks, one file each, to be read top to bottom."""
