"""How people watch runs: pages of events, feeds of sockets and streams, and the looks that make up for lost hints."""
