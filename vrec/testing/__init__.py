"""Contract tests for authors of encoders, recommenders, rankers, indexes and stores; needs pytest.

Each module has `CHECKS`, functions that raise AssertionError when an implementation breaks its protocol.
"""
