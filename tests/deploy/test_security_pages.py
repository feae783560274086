"""The pages about security name files that exist, and each requirement once."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.lint
DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["security.md", "asvs.md", "roles.md"])
def test_what_a_page_names_is_there(page: str) -> None:
    named = re.findall(r"\]\((?!http)([^)#]+)", (DOCS / page).read_text())

    assert named
    assert [path for path in named if not (DOCS / path).exists()] == []


def test_each_requirement_has_one_line_and_a_reason() -> None:
    rows = re.findall(r"^\| (\d[^|]*) \| (\w+|n/a) \| ([^|]+) \|$", (DOCS / "asvs.md").read_text(), re.MULTILINE)
    numbers = [number for row in rows for number in re.findall(r"\d+\.\d+(?:\.\d+)?", row[0])]

    assert len(numbers) > 150
    assert len(numbers) == len(set(numbers))
    assert {row[1] for row in rows} <= {"met", "proxy", "n/a", "open"}


#: Hosts of one machine: loopback, the names within compose's network, and what a reader puts in a variable.
OF_ONE_MACHINE = re.compile(
    r"^(127\.[\d.]+|0\.0\.0\.0|localhost|\[::1\]|host|nouba_playback|gateway|stats|console|psp|rabbitmq|s3|postgres)"
    r"(:[\d{].*)?;?$"
)
ADDRESS = re.compile(
    r"\b(http|https|amqp|amqps|postgresql|postgres)://(?:[^\s@/`'\"]*@)?([^\s/`'\"?,:)<>]+)([^\s`'\"|)]*)"
)


def addresses_in_the_clear(text: str) -> list[str]:
    """The addresses beyond one machine that ask for no TLS."""
    found = []
    for scheme, host, rest in ADDRESS.findall(text):
        if OF_ONE_MACHINE.match(host) or host.startswith(("$", "{", "...")):
            continue
        is_safe = scheme in ("https", "amqps") or (scheme.startswith("postgres") and "sslmode=verify-full" in rest)
        if not is_safe and "w3.org" not in host:
            found.append(f"{scheme}://{host}{rest}")
    return found


def test_every_example_beyond_one_machine_uses_tls() -> None:
    project = DOCS.parent
    pages = [
        *project.glob("*.md"),
        *DOCS.rglob("*.md"),
        *project.glob("deploy/**/*.conf"),
        project / ".env.example",
        *(path for path in project.glob("examples/**/*") if path.is_file()),
    ]
    clear = {str(path.relative_to(project)): addresses_in_the_clear(path.read_text(errors="ignore")) for path in pages}

    assert {path: found for path, found in clear.items() if found} == {}


def test_an_address_in_the_clear_would_be_found() -> None:
    assert addresses_in_the_clear("postgresql://nouba@db1,db2/nouba http://school.example/ amqp://u:p@mq.example/")
    assert not addresses_in_the_clear(
        "postgresql://nouba@db1,db2/nouba?sslmode=verify-full https://school.example amqps://mq http://127.0.0.1:1"
    )
