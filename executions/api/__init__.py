"""Starting, listing, reading, stopping and deleting runs over HTTP."""
