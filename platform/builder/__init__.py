"""The menu of the graph editor: blocks by kind, category and provider, and what people look for."""
