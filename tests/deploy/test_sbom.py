"""The bill of materials names every package of an image, Python's and npm's, each with the hashes of its files."""

import hashlib

import pytest

from deploy.sbom import REQUIREMENTS, ROOT, document, python_components

#: The scripts of our own.
OURS = {"shared/player/player.js", "shared/api_reference/reference.js", "services/console/static/console.js"}
SERVICES = ["gateway", "transcoder", "stats"]


@pytest.mark.parametrize("service", SERVICES)
def test_every_pinned_package_is_in_the_bill(service: str) -> None:
    pinned = (REQUIREMENTS / f"{service}.txt").read_text()
    found = [one for one in document(service)["components"] if one["purl"].startswith("pkg:pypi/")]

    assert len(found) == sum("==" in line and not line.startswith((" ", "#")) for line in pinned.splitlines())
    assert len({component["purl"] for component in found}) == len(found)
    assert all(component["hashes"] for component in found)
    assert "pkg:pypi/psycopg2-binary@" in " ".join(component["purl"] for component in found)


@pytest.mark.parametrize("service", SERVICES)
def test_every_script_of_others_is_in_the_bill_with_version_and_hash(service: str) -> None:
    # Given the scripts that images have: each copies shared, and the gateway's the console
    found = (script for folder in ("shared", "services") for script in (ROOT / folder).rglob("*.js"))
    scripts = {str(script.relative_to(ROOT)) for script in found} - OURS

    # Then each that is not ours is a file of a package, with the hash of its bytes
    packages = [one for one in document(service)["components"] if one["purl"].startswith("pkg:npm/")]
    files = {file["name"]: file["hashes"] for one in packages for file in one["components"]}
    assert {name for name in files if name.endswith(".js")} == scripts
    for name, hashes in files.items():
        assert hashes == [{"alg": "SHA-256", "content": hashlib.sha256((ROOT / name).read_bytes()).hexdigest()}]
    (hls,) = (one for one in packages if one["name"] == "hls.js")
    assert hls["purl"] == f"pkg:npm/hls.js@{hls['version']}"
    assert [(one["alg"], len(one["content"])) for one in hls["hashes"]] == [("SHA-512", 128)]


def test_a_marker_and_an_extra_belong_to_no_name() -> None:
    line = "Foo.Bar[x]==1.2 ; python_version < '4' \\\n    --hash=sha256:" + "a" * 64

    assert python_components(line) == [
        {
            "type": "library",
            "bom-ref": "pkg:pypi/foo-bar@1.2",
            "name": "foo-bar",
            "version": "1.2",
            "purl": "pkg:pypi/foo-bar@1.2",
            "hashes": [{"alg": "SHA-256", "content": "a" * 64}],
        }
    ]
