"""Training of one-shot models, with torch and Lightning (the extra `train`)."""
