"""The work that the tutorials measure, as a WSGI application; ``/mixed`` waits and computes."""

import time

from flask import Flask, request

app = Flask(__name__)
LARGE = "Hello World!" * 4_300


def bits_of_product(number: int) -> int:
    """Multiply the numbers below ``number`` one by one, as the tutorials do, and return the bits of the product."""
    product = 1
    for factor in range(1, min(number, 20_000)):
        product *= factor
    return product.bit_length()


@app.get("/")
def constant() -> str:
    return "Hello World!"


@app.get("/large")
def large() -> str:
    return LARGE


@app.get("/hello")
def hello() -> str:
    time.sleep(0.001)
    return f"我要吃{10 + 10 * 10}个苹果"


@app.get("/io-bound")
def io_bound() -> str:
    time.sleep(min(float(request.args.get("seconds", "0.05")), 1))
    return "waited"


@app.get("/cpu-bound")
def cpu_bound() -> str:
    return str(bits_of_product(int(request.args.get("n", "1000"))))


@app.get("/mixed")
def mixed() -> str:
    time.sleep(0.01)
    return str(bits_of_product(500))
