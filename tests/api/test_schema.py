"""The API attacked by its own description, on a real server: no request may meet a fault or an unsaid answer."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.api.asking import asking
from tests.api.server import TOKEN

EXAMPLES = 8  # of each operation, valid and invalid ones alike


@pytest.mark.filterwarnings("default")  # what schemathesis' own dependencies warn of
def test_the_api_keeps_to_its_description_whatever_is_asked(night: Path) -> None:
    import schemathesis
    from schemathesis.core.result import Ok
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi import checks

    headers = {"Authorization": f"Bearer {TOKEN}"}
    # A name or a range of dates may be of the right type and still make no sense; a parameter that nobody
    # knows is left alone.
    lenient = [checks.positive_data_acceptance, checks.negative_data_rejection]
    with asking(auth_failures="100000/minute") as asker:
        url = str(asker.client.base_url)
        schema = schemathesis.openapi.from_url(f"{url}/api/openapi.json", headers=headers)
        operations = [
            result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)
        ]
        assert {"/livez", "/metrics", "/api/status"} <= {each.path for each in operations}
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                _attack(operation, mode, headers=headers, excluded_checks=lenient)
        assert asker.client.get("/livez").status_code == 200


def _attack(operation: Any, mode: Any, **how: Any) -> None:
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
        case.call_and_validate(**how)

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
