"""The service as an ASGI application: ``uvicorn serve.app:app`` in the root of the repository."""

from dropout_risk.service.app import from_environment

app = from_environment()
