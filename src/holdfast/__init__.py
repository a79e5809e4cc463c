"""Holdfast runs Redis and Valkey like a managed service, on machines you own."""

__version__ = "0.1.0"
