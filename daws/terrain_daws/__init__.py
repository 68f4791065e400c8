"""DAW project files <-> lanes and tempo maps.

from terrain_daws import read
project = read("song.dawproject")
project.lanes_by_key()["x"].values_at(seconds, project.tempo_map)
"""

from terrain_daws.project import Marker, Note, PluginInstance, Project, Track
from terrain_daws.reading import read

__all__ = ["Marker", "Note", "PluginInstance", "Project", "Track", "read"]
