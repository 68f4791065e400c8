"""The editor: a page in the browser, served by the engine that it plays, or for plugins that play in hosts.

`pages` and `guard` say who is connected and who may be, `messages` what may be asked, `library` is the only folder that
is written to. `server` answers for an instrument that is played here: `session` plays, `workshop` builds instruments,
`gestures` turns what was played into projects. `plugin_server` answers for plugins: `instances` finds their engines.
"""
