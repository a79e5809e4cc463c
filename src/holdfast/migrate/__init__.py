"""Moves a live data set from one cache to another, verified, and with a way back."""
