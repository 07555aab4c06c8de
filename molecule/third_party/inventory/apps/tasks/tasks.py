"""A page that gives work to Celery; the queue is in directories here, so no broker is needed."""

from pathlib import Path

from celery import Celery
from celery.result import AsyncResult
from flask import Flask, url_for

HERE = Path(__file__).resolve().parent
queue = Celery("tasks", broker="filesystem://", backend=f"file://{HERE / 'results'}")
queue.conf.broker_transport_options = {
    "data_folder_in": str(HERE / "queue"),
    "data_folder_out": str(HERE / "queue"),
    "control_folder": str(HERE / "queue"),
}
app = Flask(__name__)


@queue.task
def double(number):
    """Work that takes a while elsewhere."""
    return 2 * number


@app.get("/")
def index():
    """Say that the app is there."""
    return "give work to /double/NUMBER\n"


@app.post("/double/<int:number>")
def give(number):
    """Give work away; say where its result is going to be."""
    return url_for("result", name=double.delay(number).id)


@app.get("/result/<name>")
def result(name):
    """Show a result, or the state of the work."""
    work = AsyncResult(name, app=queue)
    return str(work.result) if work.successful() else (work.state, 202)
