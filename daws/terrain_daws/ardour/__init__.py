"""Ardour sessions, version 7 and later: a folder with an XML file of the session's name."""
