"""Marks of missing values, in the precision of the column that holds them."""

import numpy as np
import pytest

from torusimaging.files.missing import MISSING, is_missing


@pytest.mark.parametrize("kind", ["f4", "f8", ">f4", ">f8"])
def test_marks_are_found_in_the_columns_own_precision(kind):
    values = np.array([*MISSING, 0.0, np.nan, np.inf, -9998.0, 250.5], dtype=kind)
    assert is_missing(values).tolist() == [True] * len(MISSING) + [False] * 5
    given = np.array([0.1, 0.2, -9999.99], dtype=kind)
    assert is_missing(given, [0.1]).tolist() == [True, False, False]


def test_single_precision_widened_to_double_is_still_a_mark():
    values = np.array([-9999.99, -999.99, 0.1], dtype="f4").astype("f8")
    assert is_missing(values).tolist() == [True, True, False]


@pytest.mark.parametrize("kind", ["i2", "i4", "i8", "u1", "u8"])
def test_whole_numbers_have_whole_marks_that_fit(kind):
    least = np.iinfo(kind).min
    values = np.array([least, 7, 3], dtype=kind)
    assert is_missing(values, [least, 7.5, 1e30]).tolist() == [True, False, False]
    assert not is_missing(values).any()
    if least < 0:
        assert is_missing(np.array([-9999, -999, 1], dtype=kind)).tolist() == [True, True, False]


def test_masks_are_missing_and_other_kinds_have_no_marks():
    assert is_missing(np.ma.array([1, 2, -999], mask=[1, 0, 0])).tolist() == [True, False, True]
    assert is_missing(np.array(["-9999", ""])).tolist() == [False, False]
    assert is_missing(np.array([True])).tolist() == [False]
    assert is_missing(np.zeros((2, 2)), []).shape == (2, 2) and not is_missing(0.5)
