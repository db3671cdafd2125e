"""Attacks on fitted recommenders: what somebody who has the model learns about a shopper."""
