"""The application's own description (OpenAPI): that a token is needed, and where it is not."""

from typing import Any

from fastapi import FastAPI

from fluxhero.api.authentication import PUBLIC

_SCHEME = "token"


class DescribedApi(FastAPI):
    """An application whose description says how it is protected; middlewares do that, which FastAPI cannot see."""

    def openapi(self) -> dict[str, Any]:
        """The description."""
        if self.openapi_schema is None:
            document = super().openapi()
            schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
            schemes[_SCHEME] = {"type": "http", "scheme": "bearer"}
            document["security"] = [{_SCHEME: []}]
            for path in PUBLIC & set(document["paths"]):
                for operation in document["paths"][path].values():
                    operation["security"] = []
        return self.openapi_schema or {}
