"""The bridge between a host's process and the engine's: what `plugin/native/bridge` is on the other bank.

The plugin (C++, in the host's process) never runs Python; the engine (Python, in a process of its own, one per plugin
instance) never sees the host. `protocol` says what crosses, `docs/bridge.md` how it goes, step by step.
"""
