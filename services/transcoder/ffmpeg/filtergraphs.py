"""Writes ffmpeg's filter graphs: any picture becomes 8-bit 4:2:0 in BT.709 with square pixels, on one grid. Pure."""

from services.transcoder.planning.ladder import LadderRung
from services.transcoder.planning.loudness import CEILING_DBTP, Level
from services.transcoder.planning.plan import Chunk, Plan, picture_frames
from services.transcoder.planning.source import Video

#: Pictures that may be missing at the very end, where headers round; they are filled with the last one.
END_SLACK_FRAMES = 2
_MATRICES = {"bt709": "bt709", "smpte170m": "smpte170m", "bt470bg": "bt470", "bt2020nc": "bt2020", "bt2020c": "bt2020",
             "fcc": "fcc", "smpte240m": "smpte240m"}  # fmt: skip
_TAGS = "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"


def chunk_graph(plan: Plan, chunk: Chunk, preroll_frames: int, *, tolerant: bool = False) -> str:
    """From one decode to every rendition of `chunk`, labelled [v0], [v1], ...

    The input starts `preroll_frames` of the grid before the chunk.
    """
    video = _video(plan)
    own = picture_frames(video, plan.rate)
    # what is lost at the end is held: `trim` ends it
    held = preroll_frames + chunk.frames if tolerant else plan.frames - own + END_SLACK_FRAMES
    steps = [
        *(["showinfo"] if tolerant else []),
        *deinterlace(video),
        f"fps={plan.rate.numerator}/{plan.rate.denominator}:start_time=0",
        f"tpad=stop={held}:stop_mode=clone",
        # the muxer moves the times back: since ffmpeg 7 `setpts` forgets the rate, and with it how long a picture lasts
        # that is alone in the last group
        f"trim=start_pts={preroll_frames}:end_pts={preroll_frames + chunk.frames}",
    ]
    if video.hdr:
        # once, at the largest size that is needed
        steps += [*fitted(plan.rungs[0].width, plan.rungs[0].height), *tone_map(video)]
    count = len(plan.rungs)
    parts = [f"[0:{video.index}]{','.join(steps)},split={count}" + "".join(f"[s{i}]" for i in range(count))]
    for i, rung in enumerate(plan.rungs):
        parts.append(f"[s{i}]{','.join(rendition(video, rung))}[v{i}]")
    return ";".join(parts)


def layout(channels: int) -> str:
    """Stereo or 5.1, mixed as ffmpeg's standard matrix does it."""
    return f"aformat=channel_layouts={'5.1' if channels > 2 else 'stereo'}"


def levelled(level: Level, channels: int) -> list[str]:
    """Sound of `channels` with `level` applied. A limiter sees peaks between samples at four times the rate."""
    steps = [layout(channels), f"volume={level.gain_db:.2f}dB"]
    if level.limited:
        limit = 10 ** (CEILING_DBTP / 20)
        steps += ["aresample=192000", f"alimiter=limit={limit:.4f}:level=0:latency=1:attack=5:release=50"]
        steps += ["aresample=48000"]
    return steps


def rendition(video: Video, rung: LadderRung) -> list[str]:
    """From a picture of the source (tone-mapped where it is HDR) to `rung`."""
    if video.hdr:
        return [_scale(rung.width, rung.height), "setsar=1", "format=yuv420p", _TAGS]
    scaled, padded = fitted(rung.width, rung.height, _colours(video))
    return [scaled, "format=yuv420p", padded, "setsar=1", _TAGS]


def still(video: Video, width: int, height: int) -> list[str]:
    """A picture of the source as JPEG wants it: full range, in the matrix of its standard."""
    jpeg = ":out_color_matrix=smpte170m:out_range=pc"
    if video.hdr:
        first = [
            *fitted(width, height),
            *tone_map(video),
            _scale(width, height, f":in_color_matrix=bt709:in_range=tv{jpeg}"),
        ]
    else:
        read = _colours(video).replace(":out_color_matrix=bt709:out_range=tv", jpeg)
        first = fitted(width, height, read)
    return [*first, "setsar=1", "format=yuvj420p"]


def deinterlace(video: Video) -> list[str]:
    """Each field becomes a picture, so that movement stays as smooth as it was."""
    if video.fields is None:
        return []
    return [f"bwdif=mode=send_field:parity={'tff' if video.fields == 'tt' else 'bff'}:deint=all"]


def tone_map(video: Video) -> list[str]:
    """HDR (PQ or HLG) to what ordinary screens show. Missing tags are named, or zscale finds no way."""
    return [
        f"setparams=color_primaries={video.primaries or 'bt2020'}:color_trc={video.transfer}"
        f":colorspace={video.matrix or 'bt2020nc'}",
        "zscale=t=linear:npl=100",
        "format=gbrpf32le",
        "zscale=p=bt709",
        "tonemap=hable:desat=0",
        "zscale=t=bt709:m=bt709:r=tv",
        "format=yuv420p",
    ]


def fitted(width: int, height: int, colours: str = "") -> list[str]:
    """Scales and pads each frame by its own shape: a film may change size or pixels on its way, and keeps its shape.

    Within two per cent, or two pixels, the frame fills the picture: sizes are even, and need no bars for that.
    """
    # as `display_size` reads it: other pixels are a mistake in the file
    shape = "if(between(sar,0.125,8),dar,a)"
    fills = f"lt(abs({height}*{shape}-{width}),{max(2, width / 50):g})+lt(abs({width}/{shape}-{height}),2)"
    across = f"if({fills},{width},2*max(1,trunc(min({width},{height}*{shape})/2)))"
    down = f"if({fills},{height},2*max(1,trunc(min({height},{width}/{shape})/2)))"
    return [
        f"scale=w='{across}':h='{down}':eval=frame:flags=bicubic{colours}",
        f"pad=w={width}:h={height}:x=(ow-iw)/2:y=(oh-ih)/2:eval=frame",
    ]


def _scale(width: int, height: int, colours: str = "") -> str:
    return f"scale={width}:{height}:flags=bicubic{colours}"


def _colours(video: Video) -> str:
    """How swscale has to read the source's numbers; an untagged picture is read as browsers read it, by its size."""
    if video.pixel_format.startswith(("gbr", "rgb", "bgr", "pal", "argb", "abgr", "0rgb", "mono", "gray")):
        return ":out_color_matrix=bt709:out_range=tv"
    matrix = _MATRICES.get(video.matrix) or ("bt709" if video.short_side >= 720 else "smpte170m")
    read_range = "pc" if video.full_range else "tv"
    return f":in_color_matrix={matrix}:in_range={read_range}:out_color_matrix=bt709:out_range=tv"


def _video(plan: Plan) -> Video:
    assert plan.source.video is not None, "a plan without a picture has no chunks"
    return plan.source.video
