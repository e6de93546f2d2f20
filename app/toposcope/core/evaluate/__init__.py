"""Any set of methods on any set of stacks whose depth is known: errors, seconds, memory.

>>> cases = [folder_case(path) for path in folders]                             # doctest: +SKIP
>>> found = evaluate(cases, [contender("default"), contender("light")])         # doctest: +SKIP
>>> print(text_table(found))                                                    # doctest: +SKIP
"""

from toposcope.core.evaluate.cases import Case, TruthFile, data_set_cases, folder_case, rendered_cases, truth_file
from toposcope.core.evaluate.comparing import (
    FIGURES,
    Comparison,
    Contender,
    EvaluateSettings,
    Mean,
    Row,
    contender,
    default_methods,
    evaluate,
    stored_maps,
)
from toposcope.core.evaluate.journal import Journal, fingerprint
from toposcope.core.evaluate.scoring import MEASURES, Score, score
from toposcope.core.evaluate.tables import (
    SHOWN,
    comparison_facts,
    contender_facts,
    error_writer,
    markdown_table,
    text_table,
    write_comparison,
)

__all__ = [
    "FIGURES",
    "MEASURES",
    "SHOWN",
    "Case",
    "Comparison",
    "Contender",
    "EvaluateSettings",
    "Journal",
    "Mean",
    "Row",
    "Score",
    "TruthFile",
    "comparison_facts",
    "contender",
    "contender_facts",
    "data_set_cases",
    "default_methods",
    "error_writer",
    "evaluate",
    "fingerprint",
    "folder_case",
    "markdown_table",
    "rendered_cases",
    "score",
    "stored_maps",
    "text_table",
    "truth_file",
    "write_comparison",
]
