"""Ableton Live sets (.als), Live 8 to 12."""
