"""The gateway's rival on dramatiq: a Flask route sends each webhook with confirms, as its documentation has it."""

import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

app = Flask(__name__)
broker = RabbitmqBroker(url=os.environ["BENCH_RABBITMQ_URL"], confirm_delivery=True)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="dramatiq_rival")
def settle(provider: str, body: str) -> None:
    """Never called: there is no worker, only the sending is measured."""


@app.post("/webhooks/<provider>")
def receive(provider: str) -> ResponseReturnValue:
    settle.send(provider, request.get_data(as_text=True))
    return jsonify(status="accepted", provider=provider)
