"""The page at /docs: every operation and every kind of error, without scripts and without the network.

FastAPI's own page fetches its scripts from elsewhere, which many schools cannot reach.
"""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from dropout_risk.errors import DropoutRiskError

_OF_THE_SERVICE = ("dropout_risk.errors", "dropout_risk.service.", "dropout_risk.store.")
"""Where the errors stand that an answer can be about."""

_STYLE = """
body { font: 16px/1.5 system-ui, "Noto Sans CJK SC", sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
section { border-top: 1px solid #ccc; margin-top: 2rem }
code, pre { font-family: ui-monospace, monospace; font-size: 14px }
pre { background: #f4f4f4; padding: .75rem; overflow-x: auto; max-height: 30rem }
td, th { text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0 }
"""


def docs_page(document: dict[str, Any]) -> str:
    """Return the page that describes an OpenAPI document.

    Parameters
    ----------
    document
        As `FastAPI.openapi` makes it.

    Examples
    --------
    >>> page = docs_page({"info": {"title": "A", "version": "1", "description": "b < c"}, "paths": {}})
    >>> "<h1>A 1</h1>" in page, "b &lt; c" in page, "<script" in page
    (True, True, False)
    """
    info = document["info"]
    return "\n".join(
        [
            f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(info["title"])}</title>',
            f"<style>{_STYLE}</style>",
            f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
            _paragraphs(info["description"]),
            '<p>The same for machines: <a href="openapi.json">openapi.json</a>.</p>',
            *_operations(document["paths"]),
            "<section><h2>Errors</h2>",
            "<p>Every error is a problem document (RFC 9457): <code>type</code>, <code>title</code>, "
            "<code>status</code>, <code>detail</code> and, where it is known what is wrong where, "
            "<code>problems</code>.</p>",
            f"<table>{''.join(_errors(DropoutRiskError))}</table>",
            "</section>\n</html>",
        ]
    )


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part)


def _operations(paths: dict[str, dict[str, Any]]) -> Iterator[str]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>"
            yield _paragraphs(f"{operation['summary']}\n\n{operation.get('description', '')}")
            for name, example in _examples(operation.get("requestBody", {})):
                yield f"<h3>Request: {escape(name)}</h3>{_code(example)}"
            for status, response in operation["responses"].items():
                yield f"<h3>{status}: {escape(response['description'])}</h3>"
                yield from (_code(example) for _, example in _examples(response))
            yield "</section>"


def _examples(part: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for content in part.get("content", {}).values():
        for name, example in content.get("examples", {}).items():
            yield example.get("summary", name), example["value"]


def _code(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, ensure_ascii=False, indent=1))}</pre>"


def _errors(kind: type[DropoutRiskError]) -> Iterator[str]:
    """Describe an error and those that are special cases of it; `type` of a problem leads here."""
    sentence = (kind.__doc__ or "").partition("\n")[0]
    yield (
        f'<tr id="{kind.__name__}"><td><code>{kind.__name__}</code></td><td>{kind.http_status}</td>'
        f"<td>{escape(kind.title)}</td><td>{escape(sentence)}</td></tr>"
    )
    for special in kind.__subclasses__():
        if special.__module__.startswith(_OF_THE_SERVICE):
            yield from _errors(special)
