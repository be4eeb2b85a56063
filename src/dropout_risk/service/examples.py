"""Examples for the OpenAPI document: requests that can be sent as they are, and what comes back."""

from http import HTTPStatus
from typing import Any

from dropout_risk.errors import AccessError, BundleError, DropoutRiskError, InputError, SignInError
from dropout_risk.service.answers import NotAcceptableError
from dropout_risk.service.problems import NotFoundError
from dropout_risk.store.keys import LockedError

_ROSTER: dict[str, list[dict[str, Any]]] = {
    "terms": [
        {"term": "2021-2022-1", "start": "2021-09-01", "end": "2022-01-14"},
        {"term": "2021-2022-2", "start": "2022-02-21", "end": "2022-07-08"},
    ],
    "calendar": [
        {"date": "2022-07-06", "is_school_day": True},
        {"date": "2022-07-07", "is_school_day": True},
        {"date": "2022-07-08", "is_school_day": True},
    ],
    "schools": [{"school_id": "S001", "county_id": "513425", "stage": "junior"}],
    "students": [
        {"student_id": "G001", "birth_date": "2008-03-02"},
        {"student_id": "G002", "birth_date": "2009-01-15"},
    ],
    "enrolments": [
        {"student_id": "G001", "school_id": "S001", "term": "2021-2022-2", "grade": 7, "distance_km": 12.5},
        {"student_id": "G002", "school_id": "S001", "term": "2021-2022-2", "grade": 17, "distance_km": 3},
    ],
    "attendance": [
        {"student_id": "G001", "date": "2022-07-06", "code": "P"},
        {"student_id": "G001", "date": "2022-07-07", "code": "U"},
        {"student_id": "G001", "date": "2022-07-08", "code": "U"},
    ],
    "grades": [
        {"student_id": "G001", "term": "2021-2022-2", "subject": "数学", "exam": "final",
         "exam_date": "2022-07-01", "score": 41, "full_mark": 100},
    ],
    "households": [{"student_id": "G001", "poverty": "registered", "valid_from": "2019-12-01"}],
}  # fmt: skip

SCORE_REQUESTS: dict[str, dict[str, Any]] = {
    "county": {
        "summary": "Tables for a county model; the grade of G002 is wrong on purpose",
        "value": {"as_of": "2022-07-08", "lang": "zh", "reasons": 3, "tables": _ROSTER},
    },
    "flat": {
        "summary": "Rows for a model of a flat table; GET /model names its columns",
        "value": {"lang": "en", "rows": [{"days_absent": 12, "route": "bus"}, {"days_absent": None, "route": "walk"}]},
    },
}

SCORE_ANSWER: dict[str, Any] = {
    "run_id": "0d5f8a1c4b7e42f29c3a6d8e1f2b4c60",
    "as_of": "2022-07-08",
    "expires": "2023-01-13",
    "rows_in": 2,
    "scored": 1,
    "refused_count": 1,
    "students": [
        {
            "student_id": "G001",
            "pseudonym": "P-6f2a9c01d4e87b35",
            "school_id": "S001",
            "county_id": "513425",
            "class_id": None,
            "grade": 7,
            "risk": 0.231,
            "band": "high",
            "rank": 1,
            "reasons": [
                {
                    "group": "attendance",
                    "label": "出勤",
                    "feature": "absence_rate",
                    "contribution": 1.42,
                    "value": 0.667,
                    "median": 0.01,
                    "text": "本学期缺勤率 66.7 %（同年级中位数 1 %）",
                    "changeable": True,
                    "measure": "家访了解缺勤原因，班主任逐日跟进",
                }
            ],
            "data_gaps": ["母亲外出"],
        }
    ],
    "refused": [
        {
            "table": "enrolments",
            "file": None,
            "row": 2,
            "student_id": "G002",
            "column": "grade",
            "value": "17",
            "message": "17 超出 1 到 9 的范围；请更正（选填项暂作空值）。",
        }
    ],
    "notes": [],
    "problems": [],
    "problems_left_out": 0,
    "model": {"version": "5f0c4a8e91b2", "created": "2026-11-22", "preset": "default", "horizon": 1},
    "disclaimer": "风险只是提供帮助的理由，绝不是结论；由人作出决定。",
}


def _http(status: int, detail: str) -> dict[str, Any]:
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}


def _own(kind: type[DropoutRiskError], detail: str, **members: Any) -> dict[str, Any]:
    document = {"type": f"/docs#{kind.__name__}", "title": kind.title, "status": kind.http_status, "detail": detail}
    return document | members


PROBLEMS: dict[int, dict[str, Any]] = {
    400: _http(400, "The body is no JSON that can be read. Invalid JSON: expected `,` or `}` at line 3 column 5."),
    401: _own(SignInError, "Send a key with the header `Authorization: Bearer KEY` (or `X-API-Key: KEY`)."),
    403: _own(AccessError, "The role auditor may not score."),
    404: _own(NotFoundError, "There is no such run within your scope."),
    406: _own(NotAcceptableError, "The answer comes as application/json, text/csv or a workbook; name one in Accept."),
    408: _http(408, "The request did not come in within 120 seconds; send it again."),
    413: _http(413, "The request is over 50,000,000 bytes; send fewer students at a time."),
    415: _http(415, "Send JSON in UTF-8, with the header Content-Type: application/json."),
    422: _own(
        InputError,
        "The request is not as /docs describes it; see problems.",
        problems=[
            {"table": None, "row": None, "column": "reasons", "message": "Input should be less than or equal to 10."}
        ],
    ),
    429: _own(LockedError, "Too many attempts with keys that do not count; try again in 900 seconds."),
    500: _own(
        DropoutRiskError,
        "The service has failed; nothing was scored. Tell whoever runs it the number in instance.",
        instance="urn:uuid:7b0c6f0e-4d0c-4c57-9f0a-8d1f8c1b2f3a",
    ),
    503: _own(
        BundleError,
        "No model is loaded: models/demo is no folder; give the folder of a saved bundle.",
    ),
}
