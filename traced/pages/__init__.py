"""What people look at: pages rendered on the server, usable without scripts."""
