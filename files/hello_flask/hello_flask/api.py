"""The work behind ``POST /server``, free of Flask."""

import json
from typing import Any

JSON_TYPES = {
    dict: "object",
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def server_api(data: Any) -> dict[str, Any]:
    """Return the data, its JSON type and the size of its most compact JSON text in bytes of UTF-8.

    Raises a ValueError for what JSON or UTF-8 cannot express: NaN, the infinities and lone surrogates.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return {"received": data, "type": JSON_TYPES[type(data)], "size": len(text.encode())}
