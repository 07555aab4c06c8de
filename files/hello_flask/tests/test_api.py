"""The pure function behind POST /server."""

from typing import Any

import pytest

from hello_flask.api import server_api


@pytest.mark.parametrize(
    ("data", "json_type", "size"),
    [
        ({"a": 1}, "object", 7),
        ([1, 2], "array", 5),
        ("苹果", "string", 8),
        (110, "number", 3),
        (1.5, "number", 3),
        (True, "boolean", 4),
        (None, "null", 4),
    ],
)
def test_it_tells_what_it_received_with_type_and_size(data: Any, json_type: str, size: int):
    assert server_api(data) == {"received": data, "type": json_type, "size": size}


@pytest.mark.parametrize("data", [float("nan"), [float("inf")], "\ud800"])
def test_it_refuses_what_json_cannot_express(data: Any):
    with pytest.raises(ValueError, match=r"not JSON compliant|surrogates not allowed"):
        server_api(data)
