"""Parts of the OpenAPI document that are written by hand, because the routes read and write bodies by hand."""

from typing import Any

from dropout_risk.service import examples
from dropout_risk.service.problems import MEDIA_TYPE

_REF = "#/components/schemas/{model}"
REF_TEMPLATE = _REF


def ref(model: str) -> dict[str, str]:
    """Return a reference to a model of the document."""
    return {"$ref": _REF.format(model=model)}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route."""
    return {
        status: {
            "description": example["title"],
            "content": {MEDIA_TYPE: {"schema": ref("Problem"), "examples": {"problem": {"value": example}}}},
        }
        for status, example in ((status, examples.PROBLEMS[status]) for status in statuses)
    }


def form_schema() -> dict[str, Any]:
    """Return what a form with files may hold."""
    return {
        "type": "object",
        "properties": {
            "file": {
                "type": "array",
                "items": {"type": "string", "format": "binary"},
                "description": "A roster (花名册) or the tables, as .csv, .xlsx or .parquet, by their own names.",
            },
            "as_of": {"type": "string", "format": "date"},
            "lang": {"type": "string", "enum": ["zh", "en"]},
            "reasons": {"type": "integer", "minimum": 1, "maximum": 10},
            "term": {"type": "string", "description": "The term of rows in files without a term column."},
        },
        "required": ["file"],
    }
