"""The editor: a page in the browser, served by the engine that it plays.

`server` answers the browser, `guard` says who may ask, `messages` what may be asked, `library` is the only folder that
is written to; `session` plays, `workshop` builds instruments, `gestures` turns what was played into projects.
"""
