"""A report as one HTML file: pictures within, no script, nothing from elsewhere; made to be printed, too."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path
from typing import Final

from toposcope import __version__
from toposcope.core.export import write_bytes
from toposcope.core.report.contents import Block, Document, Figure, Items, Kept, Pair, Section, Table, Text
from toposcope.errors import OutputError

SUFFIXES: Final = (".html", ".htm")
WHOLE: Final = 60
"""Signs of an argument that is not broken; a line holds some more."""
_UNSEEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Signs that are none, or that turn the order of others around; names of files may hold them."""
_CLASSES: Final = {"n": "number", "u": "unit", "k": "name", "c": "code", "t": "text"}

STYLE: Final = """
@page { margin: 17mm 16mm 19mm 16mm;
  @bottom-right { content: counter(page) " / " counter(pages); font: 8pt sans-serif; color: #555 } }
* { box-sizing: border-box }
html { background: #fff; color: #000; color-scheme: light;
  -webkit-print-color-adjust: exact; print-color-adjust: exact }
body { font: 10pt/1.42 "Segoe UI", "Helvetica Neue", Arial, "Noto Sans", "Liberation Sans", sans-serif;
  max-width: 178mm; margin: 12mm auto; padding: 0 6mm; overflow-wrap: anywhere }
.kind { color: #555; margin: 0; letter-spacing: .02em }
h1 { font-size: 19pt; line-height: 1.2; margin: 0 0 3mm }
h2 { font-size: 12pt; margin: 9mm 0 2.5mm; padding-bottom: 1mm; border-bottom: .4mm solid #000; break-after: avoid }
p { margin: 0 0 2mm; orphans: 3; widows: 3 }
.note { white-space: pre-line; margin: 3mm 0 0; padding: 2mm 3mm; border-left: .8mm solid #999 }
.small { font-size: 8.5pt; color: #333 }
.command span { white-space: nowrap }
.command { font: 8.5pt/1.4 Consolas, Menlo, "DejaVu Sans Mono", monospace; white-space: pre-wrap; background: #f3f3f3;
  padding: 2mm 3mm; break-inside: avoid }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .6mm 5mm; margin: 0 }
dt { color: #555 } dd { margin: 0 }
table { border-collapse: collapse; width: 100%; margin: 0 0 3mm; font-variant-numeric: tabular-nums }
thead { display: table-header-group }
tr, tbody.kept { break-inside: avoid }
th, td { text-align: left; vertical-align: baseline; padding: .9mm 3mm .9mm 0; border-bottom: .2mm solid #ccc }
th { font-weight: 600; color: #333; border-bottom: .3mm solid #666; font-size: 8.5pt }
th.group { color: #000; font-size: 10pt; padding-top: 3mm; break-after: avoid }
.number { text-align: right; white-space: nowrap; width: 1%; padding-right: 1mm }
.only { padding-right: 3mm }
.unit { white-space: nowrap; width: 1%; padding-right: 6mm }
.name { width: 34mm; padding-right: 5mm }
td.code { white-space: nowrap; width: 1%; padding-right: 0; color: #333;
  font: 7.5pt Consolas, Menlo, "DejaVu Sans Mono", monospace }
tr.marked td { background: #fff3cf }
ul, ol { margin: 0 0 3mm; padding-left: 6mm } li { margin-bottom: 1mm }
figure { margin: 0 0 5mm; break-inside: avoid }
figure img { display: block; max-width: 100%; max-height: 107mm; height: auto; width: auto }
figcaption { font-size: 8.5pt; color: #333; margin-top: 1.2mm }
.pair { display: flex; gap: 6mm; break-inside: avoid }
.pair figure { width: 50%; min-width: 0 }
.together { break-inside: avoid }
@media print { body { margin: 0; padding: 0; max-width: none } }
"""


def write_report(document: Document, path: Path | str) -> None:
    """Write a report as HTML, whole or not at all.

    Raises
    ------
    OutputError
        If the name ends in something else, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{path.name} names no HTML file. End it in .html.")
    write_bytes(path, html_page(document).encode())


def html_page(document: Document) -> str:
    """Return a report as an HTML page that holds all it needs."""
    facts = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(text)}</dd>" for name, text in document.facts)
    title = escaped(document.title)
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f'<meta name="generator" content="Toposcope {__version__}">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n"
    )
    note = f'<p class="note">{escaped(document.note)}</p>\n' if document.note else ""
    body = (
        f'<header>\n<p class="kind">{escaped(document.kind)}</p>\n<h1>{title}</h1>\n<dl>{facts}</dl>\n{note}</header>\n'
    )
    return f"{head}<body>\n{body}{''.join(_section(one) for one in document.sections)}</body>\n</html>\n"


def escaped(text: str) -> str:
    """Return ``text`` as it may stand in HTML, in an attribute, too."""
    return html.escape(shown(text))


def shown(text: str) -> str:
    """Return ``text`` with a sign for what cannot be shown."""
    return _UNSEEN.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def _section(section: Section) -> str:
    kind = ' class="together"' if section.together else ""
    blocks = "\n".join(_block(one) for one in section.blocks)
    return f"<section{kind}>\n<h2>{escaped(section.title)}</h2>\n{blocks}\n</section>\n"


def _block(block: Block) -> str:
    if isinstance(block, Text):
        text = _arguments(block.text) if block.kind == "command" else escaped(block.text)
        return f'<p class="{block.kind}">{text}</p>'
    if isinstance(block, Items):
        tag = "ol" if block.numbered else "ul"
        return f"<{tag}>{''.join(f'<li>{escaped(one)}</li>' for one in block.items)}</{tag}>"
    if isinstance(block, Figure):
        data = base64.b64encode(block.png).decode()
        caption = escaped(block.caption)
        return (
            f'<figure><img src="data:image/png;base64,{data}" width="{block.width_px}" height="{block.height_px}" '
            f'alt="{caption}"><figcaption>{caption}</figcaption></figure>'
        )
    if isinstance(block, Pair):
        return f'<div class="pair">{_block(block.left)}{_block(block.right)}</div>'
    if isinstance(block, Kept):
        return f'<div class="together">{"".join(_block(one) for one in block.blocks)}</div>'
    return _table(block)


def _arguments(text: str) -> str:
    """Return a command line that is broken between its arguments, where a browser would break after any hyphen."""
    return re.sub(r"[^ \n]+", _whole, shown(text))


def _whole(match: re.Match[str]) -> str:
    argument = html.escape(match[0])
    return f"<span>{argument}</span>" if len(match[0]) <= WHOLE else argument


def _table(table: Table) -> str:
    classes = [_CLASSES[kind] for kind in table.columns]
    for place, kind in enumerate(table.columns):
        if kind == "n" and table.columns[place + 1 : place + 2] != "u":
            classes[place] += " only"
    head = "".join(f'<th class="{kind}">{escaped(text)}</th>' for kind, text in zip(classes, table.head, strict=False))
    rows = []
    for place, row in enumerate(table.rows):
        if len(row) == 1:
            group = f'<th class="group" colspan="{len(classes)}">{escaped(row[0])}</th>'
            rows.append(f'</tbody><tbody class="kept"><tr>{group}</tr>')
            continue
        cells = "".join(f'<td class="{kind}">{escaped(text)}</td>' for kind, text in zip(classes, row, strict=True))
        rows.append(f"<tr{' class=marked' if place in table.marked else ''}>{cells}</tr>")
    top = f"<thead><tr>{head}</tr></thead>" if table.head else ""
    return f"<table>{top}<tbody>{''.join(rows)}</tbody></table>".replace("<tbody></tbody>", "")
