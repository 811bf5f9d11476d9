"""Medians and percentiles by nearest rank."""

import pytest

from scripts.bench.figures import median, percentile


def test_percentiles_are_values_that_were_measured():
    values = [float(number) for number in range(1, 201)]
    assert (percentile(values, 50), percentile(values, 99), percentile(values, 100)) == (100, 198, 200)
    assert percentile([3.0], 99) == 3.0


def test_the_median_of_an_even_number_is_the_lower_of_both():
    assert median([4.0, 1.0, 3.0, 2.0]) == 2.0


def test_nothing_measured_is_an_error():
    with pytest.raises(ValueError, match="Nothing"):
        median([])
