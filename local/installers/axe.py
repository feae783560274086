"""Fetches axe-core, which checks pages for accessibility, from npm: one version, checked by its hash."""

from local.installers.npm_package import fetch_file

VERSION = "4.14.1"
_SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="


def fetch_axe() -> str:
    """The script. Raises NotInstalledError where it is not kept and npm does not have it for us."""
    return fetch_file("axe-core", VERSION, sha512=_SHA512, file="axe.min.js").decode()
