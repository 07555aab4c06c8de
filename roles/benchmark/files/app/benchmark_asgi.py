"""The same as an ASGI application of its own, without a framework."""

import asyncio
from urllib.parse import parse_qs

from benchmark_app import LARGE, bits_of_product


async def answer(path: str, query: str) -> str:
    """Do what the path asks for."""
    first = {name: values[0] for name, values in parse_qs(query).items()}
    if path == "/hello":
        await asyncio.sleep(0.001)
        return f"我要吃{10 + 10 * 10}个苹果"
    if path == "/large":
        return LARGE
    if path == "/io-bound":
        await asyncio.sleep(min(float(first.get("seconds", "0.05")), 1))
        return "waited"
    if path == "/cpu-bound":
        return str(bits_of_product(int(first.get("n", "1000"))))
    if path == "/mixed":
        await asyncio.sleep(0.01)
        return str(bits_of_product(500))
    return "Hello World!"


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    body = (await answer(path, scope["query_string"].decode())).encode()
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
