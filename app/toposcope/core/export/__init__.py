"""Results as files: maps, pictures, surfaces, tables, and all of them with how they came to be.

>>> export(result, "ply", Path("surface.ply"))                                  # doctest: +SKIP
>>> write_result(result, Path("out"))                                           # doctest: +SKIP
>>> read_result(Path("out")).depth                                              # doctest: +SKIP
"""

from toposcope.core.export.formats import (
    FORMATS,
    HEIGHT_MAP_FORMATS,
    ExportOptions,
    FormatCard,
    export,
    file_names,
    find_format,
    write_result,
)
from toposcope.core.export.glb import write_glb
from toposcope.core.export.images import (
    write_channels,
    write_confidence_tiff,
    write_depth_png16,
    write_depth_tiff,
    write_float_tiff,
    write_image,
)
from toposcope.core.export.mesh import write_ply, write_stl
from toposcope.core.export.stored import read_result, result_facts, stack_of, write_result_json
from toposcope.core.export.surfaces import write_gwy, write_x3p
from toposcope.core.export.tables import curves_csv, pins_csv, write_curves_csv, write_pins_csv
from toposcope.core.export.writing import made_folder, together, whole_file, write_bytes

__all__ = [
    "FORMATS",
    "HEIGHT_MAP_FORMATS",
    "ExportOptions",
    "FormatCard",
    "curves_csv",
    "export",
    "file_names",
    "find_format",
    "made_folder",
    "pins_csv",
    "read_result",
    "result_facts",
    "stack_of",
    "together",
    "whole_file",
    "write_bytes",
    "write_channels",
    "write_confidence_tiff",
    "write_curves_csv",
    "write_depth_png16",
    "write_depth_tiff",
    "write_float_tiff",
    "write_glb",
    "write_gwy",
    "write_image",
    "write_pins_csv",
    "write_ply",
    "write_result",
    "write_result_json",
    "write_stl",
    "write_x3p",
]
