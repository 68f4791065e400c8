"""DAW project files <-> lanes and tempo maps.

from terrain_daws import read, write
project = read("song.dawproject")
project.lanes_by_key()["x"].values_at(seconds, project.tempo_map)
write(project, "song.rpp")
"""

from terrain_daws.project import Marker, Note, PluginInstance, Project, Track
from terrain_daws.reading import read
from terrain_daws.writing import write

__all__ = ["Marker", "Note", "PluginInstance", "Project", "Track", "read", "write"]
