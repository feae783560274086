"""The gateway's rival on Celery: a Flask route sends each webhook with confirms, as Celery's documentation has it."""

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
