"""The pages: what a school's back end does for a student who may watch.

It asks the gateway for a signed address with its own token, which the browser never sees, and gives the address to the
page. Who may watch is the school's decision; here it is everybody.
"""

from pathlib import Path

import httpx
from flask import Blueprint, Flask, jsonify, render_template_string
from flask.typing import ResponseReturnValue

from shared import player
from shared.runtime.health import healthy

FOLDER = Path(__file__).parent / "static"
#: Long enough for a lesson; the page asks for another address when it ends.
TTL_SECONDS = 4 * 3600
VIEWER = "demo"


def create_site(gateway_url: str, token: str) -> Flask:
    site = Flask(__name__, static_folder=str(FOLDER))
    site.config["SEND_FILE_MAX_AGE_DEFAULT"] = 86400
    site.register_blueprint(Blueprint("player", __name__, static_folder=str(player.FOLDER), static_url_path="/player"))
    gateway = httpx.Client(base_url=gateway_url, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    page = (FOLDER / "player.html").read_text()

    def sign(course_id: int) -> tuple[dict[str, str], int]:
        asked = {"viewer": VIEWER, "ttl_seconds": str(TTL_SECONDS)}
        try:
            answer = gateway.get(f"/api/v1/courses/{course_id}/playback", params=asked)
        except httpx.TransportError:
            return {"detail": "The gateway does not answer."}, 503
        return dict(answer.json()), answer.status_code

    site.add_url_rule("/healthz", "healthz", healthy)

    @site.get("/courses/<int:course_id>")
    def show_lesson(course_id: int) -> ResponseReturnValue:
        # signed here, so that the player has the address without another round trip
        answer, _ = sign(course_id)
        return render_template_string(
            page, course_id=course_id, master_url=answer.get("master_url", ""), detail=answer.get("detail")
        )

    @site.get("/courses/<int:course_id>/address")
    def give_address(course_id: int) -> ResponseReturnValue:
        answer, status = sign(course_id)
        return jsonify(answer), status, {"Cache-Control": "no-store"}

    return site
