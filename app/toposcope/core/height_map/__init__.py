"""Height maps that instruments have measured: read, told about, and laid over results.

>>> measured = read_height_map("groove.x3p")                            # doctest: +SKIP
>>> measured.z_um.shape, measured.pixel_x_um, measured.range_um         # doctest: +SKIP
>>> placed = place(measured, result.shape, result.pixel_um.value)       # doctest: +SKIP
"""

from toposcope.core.height_map.formats import (
    HEIGHT_MAP_SUFFIXES,
    height_map_format,
    reader_lines,
)
from toposcope.core.height_map.model import (
    METHOD,
    MIRROR_WORDS,
    MIRRORS,
    HeightMap,
    Mirror,
    as_result,
    described,
    from_result,
    mirrored,
    squared,
)
from toposcope.core.height_map.placing import LEVELS, Level, Place, Placed, lay_over, level_to, on_result, parse_place
from toposcope.core.height_map.reading import is_height_map, read_height_map

__all__ = [
    "HEIGHT_MAP_SUFFIXES",
    "LEVELS",
    "METHOD",
    "MIRRORS",
    "MIRROR_WORDS",
    "HeightMap",
    "Level",
    "Mirror",
    "Place",
    "Placed",
    "as_result",
    "described",
    "from_result",
    "height_map_format",
    "is_height_map",
    "lay_over",
    "level_to",
    "mirrored",
    "on_result",
    "parse_place",
    "read_height_map",
    "reader_lines",
    "squared",
]
