"""Federated training of the network ranker: local training, common weights, calibration by sums."""
