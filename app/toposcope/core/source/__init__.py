"""Open focal stacks: folders of images or camera RAW, multi-page TIFF files, and microscopes' own files and data sets.

>>> stack = open_stack("scan_07", OpenOptions(z_step=2.5, unit="um"))   # doctest: +SKIP
>>> describe(stack)["positions"]["origin"]                              # doctest: +SKIP
'typed in'
"""

from toposcope.core.source.facts import describe, describe_result, fact_rows
from toposcope.core.source.folder import FRAME_SUFFIXES
from toposcope.core.source.opening import open_stack
from toposcope.core.source.options import Choice, ChoiceNeeded, OpenOptions, parse_length
from toposcope.core.source.preview import Preview, preview
from toposcope.core.source.readers import reader_list

__all__ = [
    "FRAME_SUFFIXES",
    "Choice",
    "ChoiceNeeded",
    "OpenOptions",
    "Preview",
    "describe",
    "describe_result",
    "fact_rows",
    "open_stack",
    "parse_length",
    "preview",
    "reader_list",
]
