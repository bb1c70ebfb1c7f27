"""Engines: they answer requests, in process or over HTTP, and know nothing of scenes."""
