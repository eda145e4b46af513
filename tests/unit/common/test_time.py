import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.common import clock, durations

MOMENTS = st.integers(min_value=0, max_value=253_402_300_799 * clock.SECOND)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01", 0),
        ("1970-01-01T00:01Z", 60 * clock.SECOND),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:00:00-01:00", 0),
        ("2020-11-24T18:55:14.6103234Z", 1_606_244_114_610_323),
        ("2020-11-24T18:55:14.61032339999999999999Z", 1_606_244_114_610_323),
    ],
)
def test_iso_time_is_read(text: str, moment: int) -> None:
    assert clock.from_iso(text) == moment


@pytest.mark.parametrize("text", ["", "now", "2020-13-01", "2020-01-01T25:00:00Z", "2020-01-01T00:00:00Zz", "20200101"])
def test_other_text_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        clock.from_iso(text)


@given(MOMENTS)
def test_iso_time_round_trips(moment: int) -> None:
    assert clock.from_iso(clock.to_iso(moment)) == moment


@given(MOMENTS)
def test_datetime_has_the_same_microsecond(moment: int) -> None:
    assert clock.from_iso(clock.to_datetime(moment).isoformat()) == moment


def test_fraction_is_trimmed() -> None:
    assert clock.to_iso(1_500_000) == "1970-01-01T00:00:01.5Z"
    assert clock.to_iso(2_000_000) == "1970-01-01T00:00:02Z"


@given(st.integers(min_value=0, max_value=4_000_000_000))
def test_http_date_round_trips(second: int) -> None:
    assert clock.from_http(clock.to_http(second * clock.SECOND)) == second * clock.SECOND


@pytest.mark.parametrize("text", ["", "yesterday", "2020-01-01T00:00:00Z"])
def test_other_text_is_no_http_date(text: str) -> None:
    with pytest.raises(ValueError):
        clock.from_http(text)


def test_etag_counts_ticks_since_year_one() -> None:
    # 2020-11-24T18:55:14.610323Z
    assert clock.to_etag(1_606_244_114_610_323) == f"0x{637_418_409_146_103_230:X}"


@pytest.mark.parametrize(
    ("text", "micros", "normal"),
    [
        ("PT360M", 6 * clock.HOUR, "PT6H"),
        ("PT10M00S", 10 * clock.MINUTE, "PT10M"),
        ("P1DT06H00M01.5S", clock.DAY + 6 * clock.HOUR + 1_500_000, "P1DT6H1.5S"),
        ("P7D", 7 * clock.DAY, "P7D"),
        ("P1W", 7 * clock.DAY, "P7D"),
        ("PT0S", 0, "PT0S"),
        ("-PT5S", -5 * clock.SECOND, "-PT5S"),
        (durations.UNLIMITED_TEXT, durations.UNLIMITED, durations.UNLIMITED_TEXT),
        ("P99999999D", durations.UNLIMITED, durations.UNLIMITED_TEXT),
    ],
)
def test_duration_is_read_and_normalised(text: str, micros: int, normal: str) -> None:
    assert durations.parse_duration(text) == micros
    assert durations.format_duration(micros) == normal


@pytest.mark.parametrize("text", ["", "P", "PT", "P1DT", "10M", "PT1.5M", "PT-5S", "P1H"])
def test_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError):
        durations.parse_duration(text)


@given(st.integers(min_value=0, max_value=durations.UNLIMITED))
def test_duration_round_trips(micros: int) -> None:
    assert durations.parse_duration(durations.format_duration(micros)) == micros
