"""Parts of the OpenAPI document that are written by hand, because the routes read and write bodies by hand."""

from typing import Any

from dropout_risk.service import examples
from dropout_risk.service.problems import MEDIA_TYPE
from dropout_risk.service.uploads import MAX_FILES

_REF = "#/components/schemas/{model}"
REF_TEMPLATE = _REF

WRITTEN = r"^[^\x00-\x1f\x7f]+$"
"""Pattern of names and ids: no control characters, which PostgreSQL cannot even compare."""


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


_SETTINGS: dict[str, dict[str, Any]] = {
    "as_of": {"type": "string", "format": "date", "description": "The day whose knowledge counts."},
    "lang": {"type": "string", "enum": ["zh", "en"], "description": "Language of reasons and messages."},
    "reasons": {"type": "integer", "minimum": 1, "maximum": 10, "description": "How many reasons per student."},
    "term": {"type": "string", "description": "The term of rows in files without a term column."},
}
"""What may be said beside files."""


def form_schema() -> dict[str, Any]:
    """Return what a form with files may hold."""
    file = {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "maxItems": MAX_FILES,
        "description": "A roster (花名册) or the tables, as .csv, .xlsx, .xls or .parquet, by their own names.",
    }
    properties = {"file": file, **_SETTINGS}
    return {"type": "object", "properties": properties, "required": ["file"], "additionalProperties": False}


def settings_in_address() -> list[dict[str, Any]]:
    """Return the settings beside files as parameters of the address; with JSON they stand in the body."""
    return [
        {
            "name": name,
            "in": "query",
            "description": f"{schema['description']} With files only; JSON has it in the body.",
            "schema": {key: value for key, value in schema.items() if key != "description"},
        }
        for name, schema in _SETTINGS.items()
    ]


def links(**run_id: str) -> dict[str, Any]:
    """Return where an answer leads, for the links of the OpenAPI document.

    Parameters
    ----------
    run_id
        By name of an operation, where in the answer the run stands that it takes.
    """
    return {
        operation: {"operationId": operation, "parameters": {"run_id": f"$response.body#{place}"}}
        for operation, place in run_id.items()
    }
