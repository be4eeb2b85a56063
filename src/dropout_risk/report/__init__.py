"""The report that a county office reads: one self-contained HTML file per language, and the same figures as JSON.

`figures` are the plain values that everything is made from, `words` and `texts` say them in Chinese or English,
`worth`, `quality`, `drivers` and `method` are the sections in the order of the questions, `charts` and `svg` draw,
`render` puts the page together.
"""

from dropout_risk.report.render import render_report, report_files, write_report

__all__ = ["render_report", "report_files", "write_report"]
