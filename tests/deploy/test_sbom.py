"""The bill of materials names every pinned package of an image, each with the hashes of its files."""

import pytest

from deploy.sbom import REQUIREMENTS, components, document


@pytest.mark.parametrize("service", ["gateway", "transcoder", "stats"])
def test_every_pinned_package_is_in_the_bill(service: str) -> None:
    pinned = (REQUIREMENTS / f"{service}.txt").read_text()
    found = document(service)["components"]

    assert len(found) == sum("==" in line and not line.startswith((" ", "#")) for line in pinned.splitlines())
    assert len({component["purl"] for component in found}) == len(found)
    assert all(component["hashes"] for component in found)
    assert "pkg:pypi/psycopg2-binary@" in " ".join(component["purl"] for component in found)


def test_a_marker_and_an_extra_belong_to_no_name() -> None:
    line = "Foo.Bar[x]==1.2 ; python_version < '4' \\\n    --hash=sha256:" + "a" * 64

    assert components(line) == [
        {
            "type": "library",
            "bom-ref": "pkg:pypi/foo-bar@1.2",
            "name": "foo-bar",
            "version": "1.2",
            "purl": "pkg:pypi/foo-bar@1.2",
            "hashes": [{"alg": "SHA-256", "content": "a" * 64}],
        }
    ]
