"""The HTTP service: a school sends its roster and gets each student's risk with its reasons.

`settings` says what can be set, `schemas` what goes in and out, `scoring` what happens in between; `app`
puts them behind routes, `problems` words the errors and `docs` the page that explains it all.
"""

from importlib.util import find_spec

from dropout_risk.errors import MissingExtraError

if find_spec("fastapi") is None:
    raise MissingExtraError.of("fastapi", "serve")
