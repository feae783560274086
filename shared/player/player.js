// Plays a lesson in the element `player` of a page: by hls.js where the browser has Media Source Extensions, else by its
// own HLS. Attributes of the element: `data-course`, `data-master` (the signed address, empty without a lesson),
// `data-detail` (why there is none), `data-address` (where to get another address, JSON with `master_url`; optional),
// `data-preload="none"` (load nothing before the click; so does `?preload=none`) and `data-words` (JSON: what this file
// says in English, in the page's language; optional).
'use strict';
const root = document.getElementById('player'), course = root.dataset.course;
root.classList.add('player');
const words = JSON.parse(root.dataset.words || '{}'), word = text => words[text] || text;
root.innerHTML = `
<div class="stage"><video playsinline crossorigin="anonymous"></video>
<button class="big" type="button" aria-label="${word('Play')}">&#9654;</button><p class="message" role="status" hidden></p></div>
<div class="seek"><div class="preview" hidden><div class="still"></div><span></span><b dir="auto"></b></div><div class="marks"></div>
<input type="range" name="position" min="0" max="0" step="0.1" value="0" aria-label="${word('Position')}" disabled></div>
<div class="bar"><button class="play" type="button">${word('Play')}</button><span class="time">0:00 / 0:00</span>
<label class="resumed" hidden>${word('Resumed at')} <a href="#start"></a></label><span class="space"></span>
<label>${word('Speed')} <select name="speed"><option>0.5</option><option>0.75</option><option selected>1</option><option>1.25</option>
<option>1.5</option><option>2</option></select></label>
<label hidden>${word('Quality')} <select name="quality"><option value="-1">${word('auto')}</option></select></label>
<label hidden>${word('Chapter')} <select name="chapter"><option value="-1">-</option></select></label>
<label hidden>${word('Audio')} <select name="sound"></select></label>
<label hidden>${word('Captions')} <select name="captions"><option value="-1">${word('off')}</option></select></label>
<button class="full" type="button">${word('Full screen')}</button></div>`;
const find = selector => root.querySelector(selector);
const video = find('video'), big = find('.big'), seek = find('[name=position]'), message = find('.message');
const place = `nouba.position.${course}`;
// what a measurement of the player reads
const seen = window.seen = { errors: [], clickedAt: null, firstFrameMs: null, renewed: 0 };
let hls = null, master = '', board = [], chapters = [];

const clock = seconds => {
  const whole = Math.max(0, Math.floor(seconds || 0)), rest = String(whole % 60).padStart(2, '0');
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}:${rest}`;
};
const say = text => { message.textContent = text; message.hidden = !text; };
const beside = name => new URL(name, master).href;

async function address() {
  if (!root.dataset.address) throw new Error(word('The address has ended: load the page again.'));
  const answer = await fetch(root.dataset.address);
  const lesson = await answer.json();
  if (!answer.ok) throw new Error(lesson.detail || answer.statusText);
  return lesson.master_url;
}

// A stored position counts unless the lesson was nearly over.
function resumeAt() {
  const kept = Number(localStorage.getItem(place));
  return kept > 5 ? kept : 0;
}

// Whether the viewer has clicked, and nothing was loaded before.
const isAwaited = () => seen.clickedAt !== null && seen.firstFrameMs === null;

function open(url, position) {
  master = url;
  // the first pictures have neither poster nor storyboard of their own: both are beside the whole lesson
  const folder = master.replace(/first\/master\.m3u8$/, 'master.m3u8');
  const storyboard = () => loadStoryboard(new URL('storyboard.vtt', folder).href);
  // a viewer who waits for the first picture needs the line for it alone
  if (isAwaited()) video.requestVideoFrameCallback(storyboard);
  else { video.poster = new URL('poster.jpg', folder).href; storyboard(); }
  if (window.Hls && Hls.isSupported()) openWithHls(position);
  else if (video.canPlayType('application/vnd.apple.mpegurl')) { video.src = master; video.currentTime = position; }
  else say(word('This browser plays no HLS.'));
}

function openWithHls(position) {
  if (hls) hls.destroy();
  // No more ahead than half a minute, however small the lesson is: most viewers do not see its end. No worker: segments
  // are MP4 as they are, and a policy of the page need not allow one.
  hls = new Hls({
    enableWorker: false,
    // the smallest first segment where the viewer waits; the next ones are as large as the line carries
    startLevel: isAwaited() ? 0 : undefined,
    startPosition: position, maxBufferLength: 30, maxMaxBufferLength: 30, capLevelToPlayerSize: true,
    subtitlePreference: language ? { lang: language } : undefined,
  });
  hls.subtitleDisplay = true;
  hls.on(Hls.Events.ERROR, (_, data) => {
    if (data.details !== Hls.ErrorDetails.INTERNAL_ABORTED) seen.errors.push(data.details);
    if (data.response && data.response.code === 403) renewAddress();
    else if (data.fatal && data.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
    else if (data.fatal) say(`${word('The lesson cannot be loaded.')} (${data.details})`);
  });
  hls.on(Hls.Events.MANIFEST_PARSED, () => fill('quality', hls.levels.map((level, i) => [i, `${Math.min(level.width, level.height)}p`])));
  hls.on(Hls.Events.AUDIO_TRACKS_UPDATED, () => fill('sound', hls.audioTracks.map((track, i) => [i, track.name]), 1));
  hls.on(Hls.Events.SUBTITLE_TRACKS_UPDATED, () => fill('captions', hls.subtitleTracks.map((track, i) => [i, track.name])));
  hls.on(Hls.Events.SUBTITLE_TRACK_SWITCH, () => { find('[name=captions]').value = String(hls.subtitleTrack); });
  hls.on(Hls.Events.MANIFEST_LOADED, (_, data) => loadChapters(data.sessionData));
  hls.loadSource(master);
  hls.attachMedia(video);
}

// The address has ended: ask the school for another one, and go on where the viewer is.
let renewing = false;
async function renewAddress() {
  if (renewing || seen.renewed > 3) return;
  renewing = true;
  try {
    const url = await address();
    // after the answer: the viewer may have pressed play or moved on while it was on its way
    const wasPlaying = !video.paused, position = video.currentTime;
    open(url, position);
    seen.renewed += 1;
    if (wasPlaying) await video.play();
  } catch (error) { say(String(error.message || error)); }
  renewing = false;
}

function fill(name, choices, least = 0) {
  const select = find(`[name=${name}]`);
  [...select.options].forEach(option => { if (option.value !== '-1') option.remove(); });
  choices.forEach(([value, text]) => select.add(new Option(text, value)));
  select.parentElement.hidden = choices.length <= least;
}

// The language of the captions: that of the page's address, else the one that the viewer chose last.
let language = new URLSearchParams(location.search).get('captions') || localStorage.getItem('nouba.captions') || '';

async function loadChapters(session) {
  const source = session && session['com.apple.hls.chapters'];
  const answer = source && await fetch(beside(source.URI)).catch(() => null);
  const found = answer && answer.ok ? await answer.json() : [];
  chapters = found.map(one => ({ start: one['start-time'], title: one.titles[0].title }));
  fill('chapter', chapters.map(({ start, title }) => [start, `${clock(start)} \u2068${title}\u2069`]));
  seen.chapters = chapters.length;
  markChapters();
}

// A line on the seek bar where a chapter begins; the first one needs none at the very beginning.
function markChapters() {
  const known = Number.isFinite(video.duration) ? chapters.filter(one => one.start > 0 && one.start < video.duration) : [];
  find('.marks').replaceChildren(...known.map(one => {
    const mark = document.createElement('i');
    mark.style.left = `${100 * one.start / video.duration}%`;
    return mark;
  }));
}

async function loadStoryboard(url) {
  const answer = await fetch(url).catch(() => null);
  if (!answer || !answer.ok) return;
  const seconds = text => text.split(':').reduce((sum, part) => 60 * sum + Number(part), 0);
  board = (await answer.text()).split('\n\n').map(cue => cue.match(/([\d:.]+) --> ([\d:.]+)\n(.+)#xywh=(\d+),(\d+),(\d+),(\d+)/))
    .filter(Boolean).map(([, from, to, sheet, ...box]) => ({ from: seconds(from), to: seconds(to), sheet: new URL(sheet, url).href, box: box.map(Number) }));
  seen.board = board.length;
}

function preview(event) {
  const preview = find('.preview'), bounds = seek.getBoundingClientRect();
  const share = Math.min(1, Math.max(0, (event.clientX - bounds.left) / bounds.width)), at = share * video.duration;
  const cue = board.find(cue => at >= cue.from && at < cue.to) || board[board.length - 1];
  if (!Number.isFinite(at)) return;
  if (cue) {
    const [x, y, width, height] = cue.box;
    find('.still').style.cssText = `width:${width}px;height:${height}px;background:url("${cue.sheet}") -${x}px -${y}px`;
  }
  preview.querySelector('span').textContent = clock(at);
  const chapter = chapters.findLast(one => one.start <= at);
  preview.querySelector('b').textContent = chapter ? chapter.title : '';
  preview.style.left = `${event.clientX - bounds.left}px`;
  preview.hidden = false;
}

let opened = false;
function openOnce() {
  if (!opened && root.dataset.master) open(root.dataset.master, from);
  opened = true;
}

async function start() {
  if (seen.clickedAt === null) {
    seen.clickedAt = performance.now();
    video.requestVideoFrameCallback(now => { seen.firstFrameMs = now - seen.clickedAt; });
  }
  big.hidden = true;
  openOnce();
  await video.play();
}

// Report what was played, every 15 seconds and when the page is left: the school's statistics count it. The address is
// the permission, as for every other file of the lesson.
let played = [], reached = null;
function note() {
  const now = video.currentTime, last = played[played.length - 1];
  // a jump is not played: it begins a range of its own
  if (reached !== null && now > reached && now - reached < 2 * video.playbackRate) {
    if (last && last[1] === reached) last[1] = now; else played.push([reached, now]);
  }
  reached = video.seeking ? null : now;
}
function report() {
  note();
  if (!played.length || !Number.isFinite(video.duration)) return;
  // a string travels as text/plain, which needs no preflight
  if (navigator.sendBeacon(beside('watched.json'), JSON.stringify({ duration: video.duration, played }))) played = [];
}
video.onseeking = () => { reached = null; };
setInterval(report, 15000);
video.onended = report;
document.addEventListener('visibilitychange', () => { if (document.hidden) report(); });

big.onclick = find('.play').onclick = () => (video.paused ? start() : video.pause());
video.onclick = () => (video.paused ? start() : video.pause());
video.onplay = video.onpause = () => { find('.play').textContent = word(video.paused ? 'Play' : 'Pause'); };
video.ondurationchange = () => { seek.max = video.duration; seek.disabled = false; markChapters(); };
video.ontimeupdate = () => {
  note();
  seek.value = video.currentTime;
  find('.time').textContent = `${clock(video.currentTime)} / ${clock(video.duration)}`;
  const over = video.duration - video.currentTime < 10;
  if (video.currentTime > 0) localStorage.setItem(place, over ? 0 : video.currentTime);
};
seek.oninput = () => { video.currentTime = seek.value; };
seek.onmousemove = preview;
seek.onmouseleave = () => { find('.preview').hidden = true; };
find('[name=speed]').onchange = event => { video.playbackRate = Number(event.target.value); };
find('[name=quality]').onchange = event => { hls.nextLevel = Number(event.target.value); };
find('[name=sound]').onchange = event => { hls.audioTrack = Number(event.target.value); };
find('[name=chapter]').onchange = event => { if (event.target.value !== '-1') video.currentTime = Number(event.target.value); event.target.value = '-1'; };
find('[name=captions]').onchange = event => {
  hls.subtitleTrack = Number(event.target.value);
  language = hls.subtitleTrack < 0 ? '' : hls.subtitleTracks[hls.subtitleTrack].lang;
  localStorage.setItem('nouba.captions', language);
};
find('.full').onclick = () => find('.stage').requestFullscreen();

const from = resumeAt();
if (from) {
  const link = find('.resumed a');
  link.textContent = clock(from);
  link.onclick = event => { event.preventDefault(); video.currentTime = 0; find('.resumed').hidden = true; };
  find('.resumed').hidden = false;
}
say(root.dataset.detail);
// everything up to the first picture is there before the click, unless a measurement wants it cold
if (root.dataset.preload !== 'none' && !location.search.includes('preload=none')) openOnce();
