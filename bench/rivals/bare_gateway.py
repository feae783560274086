"""The gateway's rival that keeps nothing: a Flask route that reads a webhook and answers 200."""

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

app = Flask(__name__)


@app.post("/webhooks/<provider>")
def receive(provider: str) -> ResponseReturnValue:
    request.get_data()
    return jsonify(status="accepted", provider=provider)
