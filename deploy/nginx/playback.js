// Verifies signed playback paths in nginx (njs), as shared/runtime/playback_links.py does; docs/playback.md has the form.
import crypto from 'crypto';

const NAME = '[0-9A-Za-z_-]{1,128}';
const PATH = new RegExp(
    '^/play/([0-9]{1,12})\\.([0-9A-Za-z_-]{2,128})\\.([01])\\.([0-9A-Za-z_-]{43})/(0|[1-9][0-9]{0,18})/(' + NAME + ')/' +
    '((?:' + NAME + '/){0,3}' + NAME + '\\.(?:m3u8|m4s|mp4|jpg|vtt|json|mpd|key))$');

function secrets() {
    return (process.env.NOUBA_PLAYBACK_SECRETS || '').split(',').map(one => one.trim()).filter(one => one.length >= 32);
}

// As the client sent it: what nginx makes of dots and percent signs must not differ from what was signed.
function parse(r) {
    return PATH.exec(r.variables.request_uri.split('?')[0]);
}

function same(given, right) {
    let difference = given.length ^ right.length;
    for (let i = 0; i < right.length; i++) {
        difference |= given.charCodeAt(i) ^ right.charCodeAt(i);
    }
    return difference === 0;
}

function secondsLeft(path) {
    return Number(path[1]) - Math.floor(Date.now() / 1000);
}

// 'allowed', 'expired' or 'refused'
function verdict(r) {
    const path = parse(r);
    if (path === null) {
        return 'refused';
    }
    const address = path[3] === '1' ? r.variables.remote_addr : '-';
    const signed = ['nouba playback 1', path[1], path[2], address, path[5], path[6]].join('\n');
    let genuine = false;
    // every secret is tried, so that the time does not show which one was nearly right
    secrets().forEach(secret => {
        const right = crypto.createHmac('sha256', secret).update(signed).digest('base64url');
        genuine = same(path[4], right) || genuine;
    });
    if (!genuine) {
        return 'refused';
    }
    return secondsLeft(path) > 0 ? 'allowed' : 'expired';
}

// The name of the file without the viewer's grant: one copy in the cache serves all viewers.
function object(r) {
    const path = parse(r);
    return path === null ? '-' : 'hls/' + path[5] + '/' + path[6] + '/' + path[7];
}

// An object never changes, but no one may keep it for longer than the viewer may watch.
function cacheControl(r) {
    const path = parse(r);
    return path === null ? 'no-store' : 'private, max-age=' + Math.max(0, secondsLeft(path)) + ', immutable';
}

export default { verdict, object, cacheControl };
