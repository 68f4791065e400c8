"""REAPER projects (.rpp)."""
