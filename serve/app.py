"""The service as an ASGI application: ``uvicorn serve.app:app`` in the root of the repository."""

from dropout_risk.service.app import create_app
from dropout_risk.service.settings import load_settings

app = create_app(load_settings())
