"""The player of lessons for browsers, which the console and the demonstration's site both serve.

`player.js` and `player.css` are ours. `hls.min.js` is `dist/hls.min.js` of the npm package hls.js 1.7.4, unchanged, so
that no page loads a script of another site; a test compares its hash, `requirements/javascript` locks the package for
audits and the SBOM. Its licence is in `hls.LICENSE`.
"""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
