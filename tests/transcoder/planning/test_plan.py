"""Plans, ladders and rates: pure choices."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.transcoder.ffmpeg.filtergraphs import chunk_graph
from services.transcoder.planning.frame_rate import grid_shift, output_rate, source_rate
from services.transcoder.planning.geometry import display_size
from services.transcoder.planning.ladder import rungs
from services.transcoder.planning.plan import KeyPlace, Plan, audio_shift, make_plan
from services.transcoder.planning.profile import EncodingProfile
from services.transcoder.planning.source import Audio, Source, Video

VIDEO = Video(
    index=0,
    codec="h264",
    profile="High",
    width=1920,
    height=1080,
    rotation=0,
    square_pixels=True,
    pixel_format="yuv420p",
    full_range=False,
    matrix="bt709",
    transfer="bt709",
    primaries="bt709",
    fields=None,
    rate=Fraction(30000, 1001),
    variable=False,
    frames=107_892,
    first_seconds=0.0,
    end_seconds=3600.0,
    longest_key_interval_seconds=2.0,
    holes=(),
    bits_per_second=5_000_000,
)
AUDIO = Audio(
    index=1,
    codec="aac",
    profile="LC",
    channels=2,
    sample_rate=48_000,
    language="ar",
    title="",
    default=True,
    first_seconds=0.0,
    end_seconds=3600.0,
    bits_per_second=128_000,
)
SOURCE = Source(container="mov", size_bytes=1, video=VIDEO, audio=(AUDIO,))
SHA = "0" * 64


@pytest.mark.parametrize(
    ("size", "names"),
    [
        ((3840, 2160), ["1080p", "720p", "480p", "360p", "240p"]),
        ((1920, 1080), ["1080p", "720p", "480p", "360p", "240p"]),
        ((1080, 1920), ["1080p", "720p", "480p", "360p", "240p"]),
        ((1280, 718), ["718p", "480p", "360p", "240p"]),
        ((1024, 576), ["576p", "480p", "360p", "240p"]),
        ((639, 361), ["360p", "240p"]),
        ((640, 272), ["272p", "240p"]),
        ((176, 144), ["144p"]),
        ((33, 17), ["16p"]),
    ],
)
def test_renditions_go_by_the_short_side_and_never_up(size: tuple[int, int], names: list[str]) -> None:
    assert [rung.name for rung in rungs(*size)] == names


@given(st.integers(16, 8192), st.integers(16, 4320))
def test_every_rendition_is_even_smaller_than_its_source_and_of_its_shape(width: int, height: int) -> None:
    made = rungs(width, height)

    assert len({rung.name for rung in made}) == len(made) >= 1
    for rung in made:
        assert rung.width % 2 == rung.height % 2 == 0
        assert rung.short_side <= min(width, height)
        assert max(rung.width, rung.height) <= max(max(width, height) + 1, 2)
    assert [rung.short_side for rung in made] == sorted((rung.short_side for rung in made), reverse=True)


def test_an_hour_is_cut_into_chunks_of_at_most_a_minute_on_the_segment_grid() -> None:
    plan = make_plan(SOURCE, SHA, "build")

    assert plan.segment_frames == 180
    assert plan.segment_seconds == Fraction(6006, 1000)
    assert plan.frames == 107_892
    assert [chunk.first_frame % plan.segment_frames for chunk in plan.chunks] == [0] * len(plan.chunks)
    assert all(chunk.frames / plan.rate <= 60 for chunk in plan.chunks)
    assert [chunk.first_frame for chunk in plan.chunks[1:]] == [chunk.end_frame for chunk in plan.chunks[:-1]]
    assert (plan.chunks[0].first_frame, plan.chunks[-1].end_frame) == (0, plan.frames)


def test_a_short_lesson_is_cut_finer_so_that_workers_can_share_it() -> None:
    short = replace(SOURCE, video=replace(VIDEO, end_seconds=240.0), audio=())

    chunks = make_plan(short, SHA, "build").chunks

    assert 7 <= len(chunks) <= 10


def test_a_plan_can_be_kept_as_json_and_read_elsewhere() -> None:
    plan = make_plan(SOURCE, SHA, "build")

    assert Plan.load(plan.dump()) == plan
    assert plan.dump()["rate"] == "30000/1001"


def test_the_key_names_source_ladder_and_encoder_and_nothing_else() -> None:
    key = make_plan(SOURCE, SHA, "build").key

    assert make_plan(SOURCE, SHA, "build").key == key
    assert make_plan(SOURCE, "1" * 64, "build").key != key
    assert make_plan(SOURCE, SHA, "other build").key != key
    assert make_plan(SOURCE, SHA, "build", EncodingProfile(preset="fast")).key != key


def test_the_key_of_an_encrypted_lesson_is_part_of_its_name_and_no_secret() -> None:
    plan = make_plan(SOURCE, SHA, "build")
    places = [KeyPlace(key_id=name, uri=f"https://school.example/{name}") for name in ("1", "2")]
    locked = [replace(plan, key_place=place) for place in places]

    assert len({plan.key, *(one.key for one in locked)}) == 3
    assert Plan.load(locked[0].dump()) == locked[0]


def test_no_filter_of_a_chunk_makes_ffmpeg_7_forget_how_long_a_picture_lasts() -> None:
    plan = make_plan(SOURCE, SHA, "build")

    for chunk in plan.chunks:
        assert "setpts" not in chunk_graph(plan, chunk, 0)


def test_a_track_whose_title_shows_nothing_without_its_quotes_is_named_by_its_language() -> None:
    audio = (replace(AUDIO, title='"\u200f"'), replace(AUDIO, index=2, title='"Prof"'))

    plan = make_plan(replace(SOURCE, audio=audio), SHA, "build")

    assert [sound.title for sound in plan.sounds] == ["العربية", "Prof"]


def test_sound_moves_with_a_first_picture_that_was_off_the_grid() -> None:
    late = replace(SOURCE, video=replace(VIDEO, rate=Fraction(25), first_seconds=0.021))

    assert audio_shift(make_plan(late, SHA, "build")) == Fraction(21, 1000) - Fraction(1, 25)


def test_half_a_picture_rounds_up_as_ffmpeg_does() -> None:
    late = replace(SOURCE, video=replace(VIDEO, rate=Fraction(25), first_seconds=0.5))

    assert audio_shift(make_plan(late, SHA, "build")) == Fraction(1, 2) - Fraction(13, 25)


def test_sound_moves_with_frames_that_are_off_the_grid() -> None:
    late = replace(SOURCE, video=replace(VIDEO, rate=Fraction(25), grid_shift_seconds=0.019))

    assert audio_shift(make_plan(late, SHA, "build")) == Fraction(21, 1000) - Fraction(1, 25)


@pytest.mark.parametrize(
    ("times", "shift"),
    [
        ([0.021 + n / 25 for n in range(100)], 0.019),
        # a writer stretched the first frame
        ([0.0, *(0.021 + n / 25 for n in range(1, 100))], 0.019),
        # half a frame rounds up, as ffmpeg does
        ([0.5], 0.02),
        # two films were joined, and the second one goes on in another phase: half of the error for each
        ([*(0.021 + n / 25 for n in range(50)), *(0.019 + n / 25 for n in range(50, 99))], 0.0),
        ([], 0.0),
    ],
)
def test_the_shift_is_that_of_most_frames(times: list[float], shift: float) -> None:
    assert grid_shift(times, Fraction(25)) == pytest.approx(shift, abs=1e-6)


@pytest.mark.parametrize(
    ("rate", "interlaced", "made"),
    [("25", False, "25"), ("25", True, "50"), ("30000/1001", True, "60000/1001"), ("120", False, "60"),
     ("144", False, "48"), ("240", False, "60"), ("120000/1001", False, "60000/1001"), ("1", False, "5"),
     ("1/5", False, "5"), ("50", True, "50"), ("60", False, "60"), ("179/6", False, "179/6")],
)  # fmt: skip
def test_the_rate_is_natural_at_most_60_and_at_least_5(rate: str, interlaced: bool, made: str) -> None:
    assert output_rate(Fraction(rate), interlaced) == Fraction(made)


def test_times_in_whole_milliseconds_are_still_a_constant_rate() -> None:
    times = [round(i * 1001 / 30) / 1000 for i in range(300)]

    assert source_rate(times, [Fraction(30000, 1001)]) == (Fraction(30000, 1001), False)


def test_a_varying_rate_becomes_the_rate_that_shows_each_picture() -> None:
    times = [i / 30 for i in range(300) if i % 7 and not 100 < i < 120]

    assert source_rate(times, [Fraction(90_000), Fraction(30)]) == (Fraction(30), True)


def test_pixels_that_are_not_square_stretch_the_picture_and_rotation_swaps_its_sides() -> None:
    stream = {"width": 720, "height": 576, "sample_aspect_ratio": "16:11"}

    assert display_size(stream) == (1047, 576)
    assert display_size({**stream, "side_data_list": [{"rotation": -90}]}) == (576, 1047)
    assert display_size({"width": 720, "height": 576, "sample_aspect_ratio": "0:1"}) == (720, 576)
