"""Tenants: several shops in one service."""
