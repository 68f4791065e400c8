"""DAWproject 1.x: a zip with a project.xml."""
