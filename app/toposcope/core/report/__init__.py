"""A measurement as a page to hand on: what was measured, how, what came out, and how it can be made again.

::

    DepthResult | HeightMap ──> Measurement ──> Document ──> HTML (here), PDF (the window)

>>> document = measurement_report(source, found, About("Groove 7", "A. Turner"))    # doctest: +SKIP
>>> write_report(document, Path("report.html"))                                     # doctest: +SKIP
"""

from toposcope.core.report.contents import About, Block, Document, Figure, Items, Kept, Pair, Section, Table, Text
from toposcope.core.report.page import html_page, write_report
from toposcope.core.report.writing import measurement_report

__all__ = [
    "About",
    "Block",
    "Document",
    "Figure",
    "Items",
    "Kept",
    "Pair",
    "Section",
    "Table",
    "Text",
    "html_page",
    "measurement_report",
    "write_report",
]
