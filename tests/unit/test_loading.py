"""The garbage collector passes over what is loaded for good, and goes on afterwards, whatever happens meanwhile."""

import gc
import sys

import pytest

from matrix_core.loading import loading


def test_what_is_imported_is_out_of_the_collectors_rounds_and_nothing_is_if_nothing_was(monkeypatch):
    for imported in (False, True):
        with loading():
            there = [["kept"]]
            assert not gc.isenabled()
            if imported:
                monkeypatch.setitem(sys.modules, "matrix_core.one_more", there)
        assert gc.isenabled()
        assert any(found is there for found in gc.get_objects()) is not imported


def test_a_failure_leaves_the_collector_on_and_one_that_was_off_stays_off():
    with pytest.raises(ImportError), loading():
        raise ImportError
    assert gc.isenabled()
    gc.disable()
    try:
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
