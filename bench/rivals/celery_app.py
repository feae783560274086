"""A Flask route that hands each webhook to Celery with publisher confirms, as its documentation has it."""

import os

from celery import Celery
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

app = Flask(__name__)
queue = Celery(broker=os.environ["BENCH_RABBITMQ_URL"])
queue.conf.broker_transport_options = {"confirm_publish": True}
queue.conf.task_default_queue = "celery_rival"
queue.conf.task_ignore_result = True


@app.post("/webhooks/<provider>")
def receive(provider: str) -> ResponseReturnValue:
    queue.send_task("settle", args=[provider, request.get_data(as_text=True)])
    return jsonify(status="accepted", provider=provider)
