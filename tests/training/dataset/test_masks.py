"""What hides e-mail addresses reads a text once, however long it is and however often it almost has one."""

import pytest

from nearnorm.training.dataset.masks import masked

LONG = 1_000_000


@pytest.mark.timeout(120)  # it takes hundredths of a second; word by word from every place, hours
@pytest.mark.parametrize("text", ["x" * LONG, "x@" * LONG, "x@" + "y" * LONG])
def test_a_long_text_without_an_address_is_read_once(text: str) -> None:
    assert masked(text).startswith(text[:30])


@pytest.mark.parametrize("text", ["to ann@shop.example", "ann@shop.example\tand bo@b.example", "a@@b@c.d"])
def test_addresses_are_crossed_out_wherever_they_begin(text: str) -> None:
    told = masked(text)
    assert "***@***" in told
    assert "ann" not in told
    assert "b.example" not in told
