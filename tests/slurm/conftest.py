"""The testbed is the same for all folders of tests."""

from testbeds import testbed

__all__ = ["testbed"]
