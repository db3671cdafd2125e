"""Deployments as plain classes, which reach each other only through the handles they are given."""
