"""A Flask route that reads a webhook and answers 200, and keeps nothing: as fast as Flask and gunicorn go here."""

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

app = Flask(__name__)


@app.post("/webhooks/<provider>")
def receive(provider: str) -> ResponseReturnValue:
    request.get_data()
    return jsonify(status="accepted", provider=provider)
