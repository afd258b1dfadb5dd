"""Serving: what a trained run can do for others."""
