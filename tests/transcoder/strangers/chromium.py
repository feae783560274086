"""Records the corpus's picture and sound in Chromium, as a page with MediaRecorder does: `MIME FILE`."""

import base64
import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from local.installers.chromium import FLAGS, find_driver, find_program
from tests.transcoder.strangers.pattern import MARK_SECONDS, MARKS, PATCHES, SECONDS

_SCRIPT = """
const [mime, marks, lasts, patches, seconds, done] = arguments;
(async () => {
  if (!MediaRecorder.isTypeSupported(mime)) return done('unsupported');
  const canvas = document.createElement('canvas'), draw = canvas.getContext('2d');
  [canvas.width, canvas.height] = [320, 180];
  const audio = new AudioContext({sampleRate: 48000}), out = audio.createMediaStreamDestination();
  await audio.resume();
  const tone = audio.createOscillator(), gain = audio.createGain();
  tone.frequency.value = 1000; gain.gain.value = 0; tone.connect(gain).connect(out); tone.start();
  const begin = audio.currentTime + 0.3;
  for (const at of marks) {
    gain.gain.setValueAtTime(0.5, begin + at); gain.gain.setValueAtTime(0, begin + at + lasts) }
  const paint = () => {
    patches.forEach((colour, i) => { draw.fillStyle = colour; draw.fillRect(80 * (i % 2), 90 * (i >> 1), 80, 90) });
    const now = audio.currentTime - begin, on = marks.some(at => at <= now && now < at + lasts);
    draw.fillStyle = 'black'; draw.fillRect(160, 0, 160, 180);
    if (on) { draw.fillStyle = 'white'; draw.fillRect(184, 34, 112, 112) }
  };
  paint();
  const stream = canvas.captureStream(25); stream.addTrack(out.stream.getAudioTracks()[0]);
  const parts = [], recorder = new MediaRecorder(stream, {mimeType: mime, videoBitsPerSecond: 1500000});
  recorder.ondataavailable = event => parts.push(event.data);
  recorder.onstop = async () => {
    const bytes = new Uint8Array(await new Blob(parts).arrayBuffer()); let text = '';
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    done(btoa(text)) };
  recorder.start(1000);
  const painter = setInterval(paint, 10);
  setTimeout(() => { clearInterval(painter); recorder.stop() }, 1000 * (seconds + 0.3));
})().catch(error => done('failed: ' + error));
"""


def record(mime: str, path: Path) -> None:
    """Write what Chromium records as `mime` to `path`."""
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = str(find_program())
        flags = (*FLAGS, f"--user-data-dir={profile}", "--autoplay-policy=no-user-gesture-required")
        for flag in flags:
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(str(find_driver())))
        try:
            driver.set_script_timeout(60)
            colours = [f"#{patch.removeprefix('0x')}" for patch in PATCHES]
            found = driver.execute_async_script(_SCRIPT, mime, MARKS, MARK_SECONDS, colours, SECONDS)
        finally:
            driver.quit()
    if found == "unsupported" or found.startswith("failed"):
        raise SystemExit(f"Chromium records no {mime}: {found}")
    path.write_bytes(base64.b64decode(found))


if __name__ == "__main__":
    record(sys.argv[1], Path(sys.argv[2]))
