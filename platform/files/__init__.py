"""People's files: uploaded or made by runs, kept for a while, named in runs by their URIs."""
