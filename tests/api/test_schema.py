"""The API attacked by its own description, on a real server: no request may meet a fault or an unsaid answer."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.api.asking import asking
from tests.api.server import TOKEN

EXAMPLES = 12  # of each operation, valid and invalid ones alike


@pytest.mark.filterwarnings("default")  # what schemathesis' own dependencies warn of
def test_the_api_keeps_to_its_description_whatever_is_asked(night: Path) -> None:
    import schemathesis
    from schemathesis.generation import GenerationMode

    headers = {"Authorization": f"Bearer {TOKEN}"}
    with asking() as asker:
        url = str(asker.client.base_url)
        schema = schemathesis.openapi.from_url(f"{url}api/openapi.json", headers=headers)
        operations = [result.ok() for result in schema.get_all_operations()]
        assert {"/livez", "/metrics", "/api/status"} <= {each.path for each in operations}
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                _attack(operation, mode, headers)
        assert asker.client.get("/livez").status_code == 200


def _attack(operation: Any, mode: Any, headers: dict[str, str]) -> None:
    if mode == mode.NEGATIVE and not list(operation.iter_parameters()):
        return

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def attack(case: Any) -> None:
        case.call_and_validate(headers=headers)

    attack()


def test_the_description_says_where_no_token_is_needed(night: Path) -> None:
    with asking() as asker:
        document = asker.get("/api/openapi.json")
    assert document["security"] == [{"token": []}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    free = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if operation.get("security") == []
    }
    assert free == {"/livez", "/readyz"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert {"401", "429", "500", "503"} <= set(operation["responses"]), path
