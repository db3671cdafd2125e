"""Test of a challenger against the bundle in service, by the lists that both give the same shoppers.

Both bundles answer through the engine of the service, without exploration and rules, for shoppers as they
were when the evaluated part of the log began, and without the videos that a shopper had watched before. The
lists are scored against what the shoppers watched in that part.
"""
