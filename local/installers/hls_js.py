"""Fetches hls.js, the player for browsers, from npm: one version, checked by its hash."""

from pathlib import Path

from local.installers.npm_package import fetch_file

VERSION = "1.7.4"
_SHA512 = "3GlxGdPvT2YHvQYOt+yOzT/DEior/qJVNIylHA77kgeoBTdQQqi70GwefNEUmHQeNGyjC8U62+bruqW/Tpm+tg=="


def find_hls_js(folder: Path) -> Path:
    """The script, fetched into `folder` unless it is there.

    Raises NotInstalledError where npm does not have it for us.
    """
    script = folder / f"hls-{VERSION}.min.js"
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = script.with_suffix(".draft")
        draft.write_bytes(fetch_file("hls.js", VERSION, sha512=_SHA512, file="dist/hls.min.js"))
        draft.replace(script)
    return script
